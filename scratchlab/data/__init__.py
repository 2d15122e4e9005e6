"""Data: from raw text, tables and images to batches, each step a room.

``sets/`` the registered data sets: their options, and where their raw records come from
``kinds/`` what a data set is (pairs, running text, rows …): tokenised, cached, planned, batched
``generated/`` corpora that are made here, for which no file is needed
``batching/`` ids to batches: plans, packing, shards, the cache of prepared data
``tokenizers/`` text to ids and back
``sources/`` files, folders and the hub to raw text, cells and images: every reader of user files
``contract`` what the rest of the house may ask of a data set; ``catalog`` which there are

A new data set is a class in ``sets/`` on top of a kind: see docs/add-a-part.md.
"""
