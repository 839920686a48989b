"""Questioners."""
