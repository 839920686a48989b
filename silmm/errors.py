"""Every error that silmm raises on purpose, in one tree with the exit codes of the command line.

Each message says what happened, where, and what to do next.

SilmmError                1  base of all
├── UsageError            2  an option, a name or a combination of components cannot work
│   └── SettingsChanged   2  the run directory belongs to other settings
├── PluginError           3  a plugin is broken, ambiguous or of another API version
├── DataError             4  an input or a stored file is missing, unreadable or corrupt
│   ├── BadText           4  a judge cannot read a text (silmm.contracts.judges)
│   └── ImageError        4  an image cannot be judged as it is (silmm.bench.images)
├── RunBusy               5  another process works in the run directory
├── OutOfSpace            6  the disk is full
└── Incomplete           75  other shards are still to be done (the number of EX_TEMPFAIL)
"""

from __future__ import annotations


class SilmmError(Exception):
    """Base of all errors that silmm raises on purpose.

    Raised itself where no class below fits: a worker process ended, a training diverged.
    """

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
