"""The workers of a run: its components, its shards, and the processes that run them."""
