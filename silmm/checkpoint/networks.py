"""Networks that take a checkpoint's weights: every name and every shape has to agree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from silmm.checkpoint.folders import first_line
from silmm.checkpoint.weight_files import UNREADABLE, check_safetensors, unpickle, weight_files
from silmm.errors import DataError

_Network = TypeVar("_Network", bound=nn.Module)
_REMEDY = "config.json and the weights are not of one model, or a file is incomplete: copy the folder again"


def empty_network(make: Callable[[], _Network]) -> _Network:
    """Return a network whose parameters take no memory yet; its buffers are real."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        return make()


def fill(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    source: Path,
    *,
    dtype: torch.dtype | None = None,
    optional: Collection[str] = (),
    remedy: str = _REMEDY,
) -> list[str]:
    """Put weights into a network, freeze it, put it into eval mode, and return the names without a place in it.

    Args:
        network: perhaps an :func:`empty_network`.
        weights: by the network's own names.
        source: the file or folder, for messages.
        dtype: what floating-point weights are converted to; None leaves them as they are.
        optional: names that the weights may lack, such as a matrix that is tied to another one.
        remedy: how a message ends.

    Raises:
        DataError: a name is missing, or a shape is another one; names the first.
    """
    wanted = network.state_dict()
    require(source, type(network).__name__, (n for n in wanted if n not in weights and n not in optional), remedy)
    for name, tensor in wanted.items():
        if name in weights and weights[name].shape != tensor.shape:
            raise DataError(
                f"{source}: {name!r} has the shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}; {remedy}"
            )
    kept = {name: _converted(weights[name], tensor, dtype) for name, tensor in wanted.items() if name in weights}
    network.load_state_dict(kept, strict=False, assign=True)
    network.eval().requires_grad_(False)
    return [name for name in weights if name not in wanted]


def _converted(weight: Tensor, wanted: Tensor, dtype: torch.dtype | None) -> Tensor:
    if not wanted.is_floating_point():
        return weight.to(wanted.dtype)
    return weight if dtype is None else weight.to(dtype)


def load_pretrained(
    cls: Any,
    folder: Path,
    dtype: torch.dtype,
    *,
    unused: str = "\0",
    exact: bool = False,
    **arguments: Any,
) -> Any:
    """Return a model of transformers from a local folder, frozen and in eval mode, without a random weight in it.

    Args:
        cls: the model class.
        folder: holds config.json and the weights.
        dtype: number format of the weights.
        unused: prefix of weights that are never used and may be missing.
        exact: whether weights without a place in the model are refused, too.
        arguments: further ones of ``from_pretrained``.

    Raises:
        DataError: files are missing or damaged, or weights and config.json do not agree (transformers would fill
            in random numbers and go on).
    """
    files = weight_files(folder, pickles=not arguments.get("use_safetensors"))
    check_safetensors(files)
    try:
        with _quiet():
            model, report = cls.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True, trust_remote_code=False, output_loading_info=True,
                ignore_mismatched_sizes=True, **arguments,
            )  # fmt: skip
    except UNREADABLE as error:
        for path in files:
            if path.suffix == ".bin":
                unpickle(path)  # raises for the damaged one
        raise DataError(f"{folder} cannot be loaded as {cls.__name__} ({first_line(error)}); {_REMEDY}") from error
    other = sorted(map(str, report.get("mismatched_keys", ())))
    if other:
        raise DataError(
            f"{folder}: {len(other)} weights have other shapes than config.json says, the first is {other[0]}; "
            f"{_REMEDY}"
        )
    require(folder, cls.__name__, (name for name in report["missing_keys"] if not str(name).startswith(unused)))
    if exact:
        refuse_unknown(folder, cls.__name__, report["unexpected_keys"])
    return model.eval().requires_grad_(False)


def require(source: Path, network: str, missing: Iterable[object], remedy: str = _REMEDY) -> None:
    """Refuse weights that lack a name.

    Raises:
        DataError: `missing` is not empty; the message says how many names it holds and the first.
    """
    names = sorted(map(str, missing))
    if names:
        raise DataError(f"{source} lacks {len(names)} weights of {network}, the first is {names[0]!r}; {remedy}")


def refuse_unknown(source: Path, network: str, unknown: Iterable[object], remedy: str = _REMEDY) -> None:
    """Refuse weights without a place in a network.

    Raises:
        DataError: `unknown` is not empty; the message says how many names it holds and the first.
    """
    names = sorted(map(str, unknown))
    if names:
        raise DataError(f"{source} has {len(names)} weights unknown to {network}, the first is {names[0]!r}; {remedy}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and its table of missing weights off the screen; the caller reads the report."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
