"""The embedded discrete model: an image-token LMM of toy size, with its weights."""
