"""Registration of the trainers; each is a module of its own, loaded when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.training.c_dpo import CDpoOptions
from silmm_plugins.training.dpo import DpoOptions
from silmm_plugins.training.kc_dpo import KcDpoOptions
from silmm_plugins.training.mc_dpo import McDpoOptions
from silmm_plugins.training.sft import SftOptions

if TYPE_CHECKING:
    from silmm.contracts.components import Kernel
    from silmm.contracts.models import Trainer
    from silmm.contracts.registration import Register


def register_trainers(register: Register) -> None:
    """Register `dpo`, `kc-dpo`, `c-dpo`, `mc-dpo` and `sft`."""
    register(
        "dpo",
        _dpo,
        options=DpoOptions,
        requires=["log_likelihood"],
        kinds=["discrete"],
        paper="Eq. 2, App. 9",
        summary="Direct preference optimisation of LoRA weights.",
    )
    register(
        "kc-dpo",
        _kc_dpo,
        options=KcDpoOptions,
        requires=["features"],
        kinds=["continuous"],
        needs=["kernel"],
        paper="Eq. 6, App. 9",
        summary="Preference optimisation of features by a kernel's distances.",
    )
    register(
        "c-dpo",
        _c_dpo,
        options=CDpoOptions,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 5",
        summary="Preference optimisation of features by squared Frobenius distances.",
    )
    register(
        "mc-dpo",
        _mc_dpo,
        options=McDpoOptions,
        requires=["features", "mlp_blocks"],
        kinds=["continuous"],
        paper="Sec. 3.2",
        summary="The costly way: a Gaussian likelihood from many passes with dropout.",
    )
    register(
        "sft",
        _sft,
        options=SftOptions,
        requires=["log_likelihood", "features"],
        needs=["kernel"],
        paper="Table 3",
        summary="The baseline: the chosen alone, by likelihood or by a kernel's distance.",
    )


def _dpo(options: DpoOptions) -> Trainer:
    from silmm_plugins.training.dpo import Dpo

    return Dpo(options)


def _kc_dpo(options: KcDpoOptions, kernel: Kernel | None = None) -> Trainer:
    from silmm_plugins.training.kc_dpo import KcDpo

    return KcDpo(options, kernel)


def _c_dpo(options: CDpoOptions) -> Trainer:
    from silmm_plugins.training.c_dpo import CDpo

    return CDpo(options)


def _mc_dpo(options: McDpoOptions) -> Trainer:
    from silmm_plugins.training.mc_dpo import McDpo

    return McDpo(options)


def _sft(options: SftOptions, kernel: Kernel | None = None) -> Trainer:
    from silmm_plugins.training.sft import Sft

    return Sft(options, kernel)
