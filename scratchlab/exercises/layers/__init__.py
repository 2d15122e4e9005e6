"""Exercises in torch: the layers that models consist of."""
