"""Methods of scratchlab."""
