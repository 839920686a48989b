"""The rules of T2I-CompBench++: from stored answers of judges to the score of an image."""
