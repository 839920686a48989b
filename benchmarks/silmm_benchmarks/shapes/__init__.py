"""A world of coloured shapes: its pictures, its language and its exact judge."""
