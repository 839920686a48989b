"""What only `silmm run` measures on shapes: paired comparisons, VQA accuracy, self-feedback."""
