"""English, instructions and the parsing of replies."""
