"""Scores of classes, values and images, and the examples that are wrong."""
