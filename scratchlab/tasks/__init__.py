"""Tasks of scratchlab."""
