"""What a model costs: time, size."""
