"""Decoding of scratchlab."""
