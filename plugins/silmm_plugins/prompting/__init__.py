"""Prompters."""
