"""Safe files only (promise 6): while a model loads and works, no network, no pickle, no remote code."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from silmm.contracts.models import BaseModel
from silmm.testing.cases import Cases, Nonconformance, decoded_images


def check_safe_loading(make: Callable[[], BaseModel], cases: Cases) -> None:
    """Check that building the model, sampling and decoding need neither network nor pickle nor remote code."""
    with no_network(), no_pickle():
        decoded_images(make(), cases)


@contextmanager
def no_network() -> Iterator[None]:
    """Let every attempt to reach another machine raise :class:`Nonconformance`, and say so at the end too.

    A library may swallow the error and go on without the file; the body fails all the same.
    """
    tried: list[str] = []

    def refuse(*arguments: object, **_: object) -> Any:
        target = next((argument for argument in arguments if not isinstance(argument, socket.socket)), "")
        tried.append(str(target))
        raise Nonconformance(f"network: something wants to reach {target}; load from the given files alone")

    real = socket.socket.connect

    def connect(own: socket.socket, address: Any) -> Any:
        if own.family in (socket.AF_INET, socket.AF_INET6):
            return refuse(address)
        return real(own, address)

    with (
        mock.patch.object(socket.socket, "connect", connect),
        mock.patch.object(socket.socket, "connect_ex", connect),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield
    if tried:
        raise Nonconformance(f"network: something wanted to reach {tried[0]} and hid the refusal")


@contextmanager
def no_pickle() -> Iterator[None]:
    """Let every file that may run code raise :class:`Nonconformance`.

    `torch.load` has to be called with ``weights_only=True``; `pickle.load` and `numpy.load` with
    ``allow_pickle=True`` are refused, and so is transformers' code from a checkpoint's folder.
    """
    load, numpy_load = torch.load, np.load

    def watched(*arguments: Any, **options: Any) -> Any:
        if options.get("weights_only") is not True:
            raise Nonconformance(f"pickle: torch.load({arguments[0]!r}) without weights_only=True")
        return load(*arguments, **options)

    def watched_numpy(*arguments: Any, **options: Any) -> Any:
        if options.get("allow_pickle"):
            raise Nonconformance(f"pickle: numpy.load({arguments[0]!r}) with allow_pickle=True")
        return numpy_load(*arguments, **options)

    def refuse(*arguments: object, **_: object) -> Any:
        raise Nonconformance(f"pickle: code or objects from {arguments[0]!r} are loaded")

    from transformers import dynamic_module_utils

    with (
        mock.patch.object(torch, "load", watched),
        mock.patch.object(np, "load", watched_numpy),
        mock.patch.object(pickle, "load", refuse),
        mock.patch.object(dynamic_module_utils, "get_class_from_dynamic_module", refuse),
    ):
        yield
