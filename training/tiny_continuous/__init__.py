"""The training of `tiny-continuous`."""
