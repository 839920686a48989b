"""The training of `tiny-discrete`."""
