"""Sweeps: many runs that differ in the values of some options, chosen by Optuna."""
