"""Data of scratchlab."""
