"""What a model says to the examples of a split: translations, answers, predictions."""
