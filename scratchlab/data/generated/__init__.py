"""Corpora made here or read from what Python ships: no network, no files."""
