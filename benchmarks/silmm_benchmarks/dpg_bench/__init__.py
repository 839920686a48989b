"""DPG-Bench: dense prompts, scored by chains of yes/no questions (arXiv 2403.05135; docs/spec/benchmarks.md 3)."""
