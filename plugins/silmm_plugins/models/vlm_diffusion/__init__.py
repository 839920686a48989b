"""A vision-language model whose hidden states condition a diffusion pipeline, by stock classes."""
