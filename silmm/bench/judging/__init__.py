"""Judges at work: opened, checked by canaries, asked, their answers validated and stored by content."""
