"""`janus`: Janus and Janus-Pro, image-token models that draw and look with one language model."""
