"""The release, and the version of the hook contract."""

__version__ = "0.1.0"
SILMM_PLUGIN_API = 2
"""Version of the hook contract; a plugin may state the version that it was written for in its module."""
