"""The models that benchmarks read images with."""
