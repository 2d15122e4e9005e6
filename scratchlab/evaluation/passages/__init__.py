"""Scores of ranked passages, and of answers that are found in them.

``metrics`` holds the formulas; the evaluators ask ``outputs`` for what was ranked or answered.
"""
