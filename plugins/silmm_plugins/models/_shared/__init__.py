"""Modules that several base models share."""
