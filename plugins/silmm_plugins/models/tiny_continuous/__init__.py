"""The embedded continuous model: queries whose hidden states a frozen decoder paints, with its weights."""
