"""Atomic files, shards, tables, locks, paths and fingerprints: how a run directory stays sound."""
