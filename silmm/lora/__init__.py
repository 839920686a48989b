"""LoRA adapters: attach, load, save, and the record of what they hold."""
