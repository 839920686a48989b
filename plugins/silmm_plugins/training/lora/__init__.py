"""The training loop of LoRA weights."""
