"""The registered data sets: options, and where each one's raw records come from; little code."""
