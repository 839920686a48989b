"""Who draws a benchmark's pictures: diffusers pipelines, image endpoints, base models."""
