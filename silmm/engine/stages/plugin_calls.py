"""Calls of plugins from the stages: whatever goes wrong in one is a PluginError that names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from silmm.errors import PluginError, SilmmError

T = TypeVar("T")
REPORT = "Report it to its plugin; SILMM_DEBUG=1 shows where it happened."


@contextmanager
def blaming(who: str, doing: str) -> Iterator[None]:
    """Turn an exception of a plugin, `sys.exit` included, into a PluginError.

    Args:
        who: The component, with its distribution where that is known.
        doing: What it was asked for.

    Raises:
        PluginError: The plugin raised something that is no error of silmm.
    """
    try:
        yield
    except SilmmError:
        raise
    except (Exception, SystemExit) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise PluginError(f"{who} failed while {doing}: {type(error).__name__}: {reason}. {REPORT}") from error


def one_per_input(results: Sequence[T], inputs: Sequence[object], who: str) -> list[T]:
    """Return the results of a plugin as a list, or refuse a wrong number of them.

    Raises:
        PluginError: There is not one result per input.
    """
    try:
        count = len(results)
    except TypeError:
        raise PluginError(f"{who} returned {type(results).__name__} in place of a list. {REPORT}") from None
    if count != len(inputs):
        raise PluginError(
            f"{who} returned {count} results for {len(inputs)} inputs; it must return one per input, in order. "
            f"{REPORT}"
        )
    return list(results)
