"""Estimators of scratchlab."""
