"""Evaluation of scratchlab."""
