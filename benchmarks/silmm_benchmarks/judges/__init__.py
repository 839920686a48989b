"""The models that benchmarks read pictures with."""
