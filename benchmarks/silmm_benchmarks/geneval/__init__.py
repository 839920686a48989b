"""GenEval: 553 prompts, scored by an object detector and CLIP's colours (arXiv 2310.11513; docs/spec/geneval.md)."""
