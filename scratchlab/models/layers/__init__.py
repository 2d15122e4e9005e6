"""Layers that several models share, each from its paper."""
