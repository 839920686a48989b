"""Step 1 of the loop: prompters."""
