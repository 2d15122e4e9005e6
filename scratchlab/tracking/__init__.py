"""Tracking of scratchlab."""
