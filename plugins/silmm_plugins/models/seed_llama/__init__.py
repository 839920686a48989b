"""SEED-LLaMA as a base model: a Llama that writes pictures as 32 codes of the SEED tokenizer."""
