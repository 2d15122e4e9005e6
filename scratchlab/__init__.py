"""scratchlab: deep learning and NLP from scratch, trained, compared and explained in one line."""

__version__ = "0.1.0"
