"""Which example is in which split: no content on both sides of a border, folds, tables."""
