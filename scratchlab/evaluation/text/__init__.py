"""Scores of text: n-gram overlap, perplexity, exact answers, samples."""
