"""Visual question answering models of open libraries: BLIP, BLIP-2, GIT, ViLT, and BLIP-VQA's P(yes)."""
