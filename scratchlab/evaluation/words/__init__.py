"""Scores and pictures of word vectors: similarity, analogies, neighbours, a map.

They ask the model for :class:`~scratchlab.estimators.embeddings.vectors.WordVectors`.
"""
