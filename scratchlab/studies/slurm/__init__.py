"""Workers of sweeps and suites as jobs of Slurm: submitted, watched, and at home in their job."""
