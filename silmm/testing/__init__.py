"""The conformance kit: checks that plugin authors run on their own components, as silmm does on its own.

Every `check_*` raises :class:`Nonconformance` that says what was promised and what was found, and returns the
largest difference that it met where it compares numbers. None of them needs pytest; the class of tests that
runs them all is :class:`silmm.testing.conformance.BaseModelConformance`.
"""

from silmm.testing.adapters import check_adapter_round_trip
from silmm.testing.batches import (
    check_answers_by_batch,
    check_chat_by_batch,
    check_decode_by_batch,
    check_features_by_batch,
    check_likelihood_by_batch,
    check_represent_by_batch,
)
from silmm.testing.capabilities import check_capabilities, check_registration, check_shapes
from silmm.testing.cases import Cases, Nonconformance
from silmm.testing.components import check_pair_rule, check_sampler, check_scorer
from silmm.testing.kernels import check_aggregation, check_distance
from silmm.testing.likelihood import check_sampler_distribution, check_token_likelihood
from silmm.testing.precision import check_bf16
from silmm.testing.safety import check_safe_loading, no_network, no_pickle
from silmm.testing.seeds import check_chat_by_seed, check_decode_by_seed, check_represent_by_seed
from silmm.testing.trainers import check_trainer
from silmm.testing.training import (
    check_dropout_is_off,
    check_first_step,
    check_gradients,
    check_lora_targets,
)

__all__ = [
    "Cases",
    "Nonconformance",
    "check_adapter_round_trip",
    "check_aggregation",
    "check_answers_by_batch",
    "check_bf16",
    "check_capabilities",
    "check_chat_by_batch",
    "check_chat_by_seed",
    "check_decode_by_batch",
    "check_decode_by_seed",
    "check_distance",
    "check_dropout_is_off",
    "check_features_by_batch",
    "check_first_step",
    "check_gradients",
    "check_likelihood_by_batch",
    "check_lora_targets",
    "check_pair_rule",
    "check_registration",
    "check_represent_by_batch",
    "check_represent_by_seed",
    "check_safe_loading",
    "check_sampler",
    "check_sampler_distribution",
    "check_scorer",
    "check_shapes",
    "check_token_likelihood",
    "check_trainer",
    "no_network",
    "no_pickle",
]
