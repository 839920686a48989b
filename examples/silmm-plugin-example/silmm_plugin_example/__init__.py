"""Registration of the components; the factories import heavy modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import Options, hookimpl, option

if TYPE_CHECKING:
    from silmm import BaseModel, Distance, NoOptions, Register, Sampler

SILMM_PLUGIN_API = 2


class ModelOptions(Options):
    """Options of the model."""

    weights_seed: int = option(0, "seed of the random weights", ge=0)


class SpreadOptions(Options):
    """Options of the sampler."""

    low: float = option(0.7, "lowest temperature", gt=0)
    high: float = option(1.3, "highest temperature", gt=0)


@hookimpl
def silmm_register_models(register: Register) -> None:
    """Register the model with its kind and its capabilities."""
    register(
        "plugin-example-model",
        _model,
        options=ModelOptions,
        summary="A tiny language model with random weights that samples 16 image tokens.",
        kind="discrete",
        capabilities=("yes_no", "log_likelihood", "nucleus"),
    )


@hookimpl
def silmm_register_samplers(register: Register) -> None:
    """Register the sampler, for models that take a temperature."""
    register(
        "plugin-example-spread",
        _sampler,
        options=SpreadOptions,
        requires=["nucleus"],
        kinds=["discrete"],
        summary="Each candidate at a temperature of its own.",
    )


@hookimpl
def silmm_register_distances(register: Register) -> None:
    """Register the distance: with every aggregation it makes a kernel."""
    register(
        "plugin-example-l1",
        _distance,
        requires=["features"],
        kinds=["continuous"],
        summary="Mean absolute difference.",
    )


def _model(options: ModelOptions) -> BaseModel:
    from silmm_plugin_example.model import RandomModel

    return RandomModel(options.weights_seed)


def _sampler(options: SpreadOptions) -> Sampler:
    from silmm_plugin_example.sampler import Spread

    return Spread(options.low, options.high)


def _distance(options: NoOptions) -> Distance:  # noqa: ARG001 - every factory gets its options
    from silmm_plugin_example.distance import mean_absolute_difference

    return mean_absolute_difference
