"""Pixel streaming runtime: coordinator, session server, relay, and a sample title."""

__version__ = "0.1.0"
