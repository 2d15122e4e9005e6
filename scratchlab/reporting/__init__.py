"""Reporting of scratchlab."""
