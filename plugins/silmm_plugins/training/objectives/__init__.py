"""What a training step computes: losses and metrics of some prompts, with the reference's values at hand."""
