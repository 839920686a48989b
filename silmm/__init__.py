"""silmm: align image-generating multimodal models by their own judgement, and measure it honestly."""

from silmm import torchvision_import
from silmm.hookspecs import hookimpl

__version__ = "0.1.0"
SILMM_PLUGIN_API = 1
"""Version of the hook contract; a plugin may state the one it was written for in its module."""

__all__ = ["SILMM_PLUGIN_API", "__version__", "hookimpl"]

torchvision_import.install()
