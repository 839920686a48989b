"""The training script of the embedded continuous model."""
