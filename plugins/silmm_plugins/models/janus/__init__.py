"""`janus`: Janus and Janus-Pro, which sample images and answer about them with one language model."""
