"""Ids to batches: ragged arrays, plans made once an epoch, packing, shards, the cache on disk."""
