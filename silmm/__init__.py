"""silmm: align image-generating multimodal models by their own judgement, and measure it honestly."""

from silmm import torchvision_import
from silmm.contracts.hookspecs import hookimpl
from silmm.version import SILMM_PLUGIN_API, __version__

__all__ = ["SILMM_PLUGIN_API", "__version__", "hookimpl"]

torchvision_import.install()
