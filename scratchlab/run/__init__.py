"""Run of scratchlab."""
