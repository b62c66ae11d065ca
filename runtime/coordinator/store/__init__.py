"""Persistence: the only part that knows the database. Operators used here are those the contract suite proves."""
