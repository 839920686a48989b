"""Emu3: a discrete base model with about 8k tokens per image; Gen samples, Chat answers."""
