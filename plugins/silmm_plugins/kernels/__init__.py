"""Aggregations and distances, the halves of kernels."""
