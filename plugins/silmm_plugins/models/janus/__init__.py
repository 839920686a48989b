"""`janus`: Janus and Janus-Pro, image-token models that sample and look with one language model."""
