"""Studies of scratchlab."""
