"""T2I-CompBench++: eight categories of 300 prompts, their layout, rules, columns (docs/spec/benchmarks.md 1)."""
