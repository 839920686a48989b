"""Comparisons of speed, each on the same work; run them with `make bench`."""

import silmm  # noqa: F401  # before anything imports torchvision (silmm.torchvision_import)
