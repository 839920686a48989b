"""DreamLLM: a language model whose dream queries' hidden states a frozen Stable Diffusion 2.1 decodes."""
