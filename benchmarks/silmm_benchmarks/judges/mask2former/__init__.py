"""Mask2Former with Swin-S, GenEval's detector, in plain torch (docs/spec/geneval.md 4)."""
