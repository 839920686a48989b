"""TIFA v1.0: does an image answer questions about its caption (arXiv 2303.11897; docs/spec/benchmarks.md 2)."""
