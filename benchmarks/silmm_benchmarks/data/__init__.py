"""Official files of benchmarks and judges: what they are, where their home is, how they come here."""
