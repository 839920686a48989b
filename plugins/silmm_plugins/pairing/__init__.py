"""Pair rules."""
