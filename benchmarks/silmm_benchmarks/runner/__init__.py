"""Running an image benchmark: generate, check, judge, score, write the result."""
