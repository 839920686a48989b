"""The prompts of T2I-CompBench++: their files, their grammar, and what the rules need of them."""
