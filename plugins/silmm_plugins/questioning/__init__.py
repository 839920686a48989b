"""Step 3 of the loop: questioners."""
