"""TIFA v1.0: does a picture answer questions about its caption (arXiv 2303.11897; spec/benchmarks.md 2)."""
