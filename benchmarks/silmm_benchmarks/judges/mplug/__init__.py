"""mPLUG VQA large, the judge of TIFA and DPG-Bench, for inference in plain torch (docs/spec/benchmarks.md 4.2)."""
