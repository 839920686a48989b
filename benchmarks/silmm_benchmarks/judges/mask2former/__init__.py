"""Mask2Former with Swin-S, GenEval's detector, in plain torch (spec/geneval.md 4)."""
