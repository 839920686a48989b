"""Reading checkpoints: their folder, their JSON, their weights, and the networks that take these."""
