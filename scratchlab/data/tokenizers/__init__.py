"""Text to ids and back: words, characters, pieces, and those of pretrained checkpoints."""
