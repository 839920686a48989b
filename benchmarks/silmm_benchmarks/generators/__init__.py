"""Who samples a benchmark's images: diffusers pipelines, image endpoints, base models."""
