"""What plugins implement and what passes between the parts: typed contracts, no logic of a run."""
