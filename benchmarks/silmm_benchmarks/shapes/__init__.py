"""A world of coloured shapes: its images, its language and its exact judge."""
