"""Training of scratchlab."""
