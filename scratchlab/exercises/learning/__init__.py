"""Exercises of what training does: losses, gradients by hand, update rules."""
