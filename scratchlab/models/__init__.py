"""Models of scratchlab."""
