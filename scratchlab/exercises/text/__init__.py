"""Exercises of texts: pieces of words, search and sampling, counts, a score."""
