"""What a data set is: it tokenises, caches, plans and batches what a source gives."""
