"""The core loop: stages, iterations, settings and their checks, executors."""
