"""Step 2 of the loop: samplers of diverse candidates."""
