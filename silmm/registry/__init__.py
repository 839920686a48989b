"""Finds plugins, keeps what they register, composes kernels and calls observers."""
