"""Every error that a user can meet, in one tree; each message says what, where and what to do next.

SilmmError                exit code 1
├── UsageError            2  a wrong option, an unknown name, a combination that cannot work
│   └── SettingsChanged   2  the run directory belongs to other settings
├── PluginError           3  a plugin is broken, duplicated or of another API version
├── DataError             4  an input file or a stored shard is missing, unreadable or corrupt
├── RunBusy               5  another process holds the run directory
├── OutOfSpace            6  the disk is full
└── Incomplete           75  other shards are still to be done (same number as EX_TEMPFAIL)
"""

from __future__ import annotations


class SilmmError(Exception):
    """Base of all errors that silmm raises on purpose."""

    exit_code = 1


class UsageError(SilmmError):
    """Raised when an option, a name or a combination of components cannot work."""

    exit_code = 2


class SettingsChanged(UsageError):
    """Raised when a run directory is opened with settings other than those that made it."""


class PluginError(SilmmError):
    """Raised when a plugin that is asked for is broken, ambiguous or of another API version."""

    exit_code = 3


class DataError(SilmmError):
    """Raised when an input or a stored file is missing, unreadable, malformed or corrupt."""

    exit_code = 4


class RunBusy(SilmmError):
    """Raised when another process works in the run directory."""

    exit_code = 5


class OutOfSpace(SilmmError):
    """Raised when the disk is full; what was committed before stays usable."""

    exit_code = 6


class Incomplete(SilmmError):
    """Raised when a stage needs shards that other workers have not finished yet."""

    exit_code = 75
