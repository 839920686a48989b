"""English grammar, instructions to models, and the parsing of their replies."""
