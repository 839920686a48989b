"""SEED-LLaMA as a base model: a Llama that writes images as 32 codes of the SEED tokenizer."""
