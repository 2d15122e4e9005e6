"""One run in several processes: shared or sharded weights, and what they must agree on."""
