"""Scripts that make the embedded models from nothing; not part of the installed package."""
