"""The embedded continuous model: queries whose hidden states a frozen decoder decodes, with its weights."""
