"""Looks inside a model: attention, features, members, what quantization changed."""
