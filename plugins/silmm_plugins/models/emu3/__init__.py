"""Emu3: a discrete base model of about 8k image tokens a picture; Gen draws, Chat answers."""
