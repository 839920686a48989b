"""T2I-CompBench++: eight categories of 300 prompts, their layout, rules, columns (spec/benchmarks.md 1)."""
