"""Estimators with scikit-learn's contract: classical models from scratch in NumPy, and counts."""
