"""Exercises of weights in few bits."""
