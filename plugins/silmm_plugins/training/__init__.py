"""Trainers and their losses."""
