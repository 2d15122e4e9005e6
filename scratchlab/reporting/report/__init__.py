"""``scratchlab report``: runs beside each other as one page that needs nothing else."""
