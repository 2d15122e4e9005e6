"""Config of scratchlab."""
