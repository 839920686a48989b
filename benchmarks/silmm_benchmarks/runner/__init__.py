"""Running a picture benchmark: generate, check, judge, score, write the result."""
