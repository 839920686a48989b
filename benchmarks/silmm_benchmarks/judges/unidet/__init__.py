"""UniDet, the detector of T2I-CompBench++, in plain torch: it reads the two official checkpoint files."""
