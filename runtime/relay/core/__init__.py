"""The relay's pure decisions: no input or output, no clock, no randomness; those come in as arguments."""
