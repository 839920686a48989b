"""Results of `silmm bench` side by side: read, ranked where that is fair, compared prompt by prompt."""
