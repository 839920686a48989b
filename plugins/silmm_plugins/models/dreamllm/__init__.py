"""DreamLLM: a language model; a frozen Stable Diffusion 2.1 decodes the hidden states of its dream queries."""
