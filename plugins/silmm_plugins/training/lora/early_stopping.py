"""Validation on the way of a training: the series of scores, the best weights, and when to stop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from accelerate import PartialState
from accelerate.utils import broadcast

from silmm.contracts.models import Validate, ValidationScore
from silmm.errors import SilmmError
from silmm_plugins.training.lora.checkpoints import Position
from silmm_plugins.training.lora.lora_options import LoraOptions


class ValidationWarning(UserWarning):
    """Warns that validation could not be done, or found nothing better than the reference."""


class EarlyStopping:
    """Asks for the score of the reference, of every `validate_every`-th step's weights, and of the last.

    Of equal scores the later is the better: a score that does not see the images never stops anything.
    """

    def __init__(
        self,
        options: LoraOptions,
        parameters: Mapping[str, torch.nn.Parameter],
        validate: Validate | None,
        position: Position,
    ) -> None:
        """Go on from a checkpoint's position; without `validate` nothing is ever done."""
        self._options = options
        self._parameters = parameters
        self._validate = validate if options.validate_every else None
        self.series = position.series
        """(step, score) of each validation so far; step 0 is the reference."""
        self.best = position.best
        """The weights of the best one, by name, where they are to be kept."""
        if options.validate_every and validate is None:
            warnings.warn(
                f"trainer.validate_every={options.validate_every}, but there are no prompts to validate "
                "on (a run on its user's pairs has none): the training goes on to its last step",
                ValidationWarning,
                stacklevel=2,
            )

    @property
    def over(self) -> bool:
        """Whether the best validation is `patience` validations old."""
        patience = self._options.patience
        return bool(patience and self.series) and len(self.series) - 1 - self._best_index() >= patience

    def begin(self) -> None:
        """Validate the reference, unless the checkpoint has that."""
        if self._validate and not self.series:
            self._add(0)

    def after(self, step: int) -> dict[str, float]:
        """Return the metrics of the weights that a step left; empty where no validation is due."""
        every = self._options.validate_every
        if not self._validate or (step % every and step != self._options.max_steps):
            return {}
        result = self._add(step)
        return {
            "validation_score": result.score,
            "validation_error": result.error,
            "validation_prompts": float(result.prompts),
            "validation_reference": self.series[0][1],
            "validation_best_step": float(self.series[self._best_index()][0]),
        }

    def put_best(self) -> None:
        """Put the best weights in place of the last ones; warn where they are the reference's."""
        if not self.best:
            return
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self.best[name])
        if self._best_index() == 0:
            warnings.warn(
                f"none of {len(self.series) - 1} validations scored above the reference "
                f"({self.series[0][1]:+.4f}): the adapter that is written is the reference's. A lower "
                "trainer.learning_rate may help, or trainer.keep_best=false keeps the last weights",
                ValidationWarning,
                stacklevel=2,
            )

    def _best_index(self) -> int:
        return max(range(len(self.series)), key=lambda index: (self.series[index][1], index))

    def _add(self, step: int) -> ValidationScore:
        result = self._measured()
        if not math.isfinite(result.score):
            raise SilmmError(
                f"training: the validation score after step {step} of {self._options.max_steps} is not finite; "
                "the last checkpoint is kept. Lower trainer.learning_rate or set trainer.validate_every=0, "
                "in a new run directory"
            )
        self.series = (*self.series, (step, result.score))
        if self._options.keep_best and self._best_index() == len(self.series) - 1:
            self.best = {name: p.detach().cpu().clone() for name, p in self._parameters.items()}
        return result

    def _measured(self) -> ValidationScore:
        """Return what rank 0 measures, without a trace in the state of the training."""
        state = PartialState()
        values = torch.zeros(3, dtype=torch.float64)
        if self._validate and state.is_main_process:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                result = self._validate()
            values = torch.tensor([result.score, result.error, result.prompts], dtype=torch.float64)
        if state.num_processes > 1:
            values = broadcast(values.to(state.device)).cpu()
        score, error, prompts = values.tolist()
        return ValidationScore(score, error, int(prompts))
