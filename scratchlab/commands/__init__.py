"""Commands of scratchlab."""
