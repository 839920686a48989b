"""Benchmarks of the project: worlds small enough to be judged exactly."""
