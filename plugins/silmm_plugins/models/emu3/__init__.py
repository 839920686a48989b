"""Emu3: a discrete base model of about 8k image tokens an image; Gen samples, Chat answers."""
