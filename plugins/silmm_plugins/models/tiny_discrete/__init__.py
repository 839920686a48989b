"""The embedded discrete model: an image-token LMM at toy size, with its weights."""
