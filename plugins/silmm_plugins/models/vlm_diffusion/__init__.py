"""A vision-language model whose hidden states condition a diffusion pipeline; stock classes."""
