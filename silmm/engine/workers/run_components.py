"""The components of a run, each built once per process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from silmm.contracts.components import Sampler
from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.validation_options import ValidationOptions
from silmm.engine import capabilities
from silmm.engine.component_options import REGISTERED_AS
from silmm.engine.stages.candidate_views import Key
from silmm.engine.stages.sample_stage import resample_features
from silmm.engine.stages.score_stage import RunJudge
from silmm.lora.loading import load_adapter

if TYPE_CHECKING:
    import pyarrow as pa

    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Entry, Registry


class Components:
    """The components of a run, each built when first needed; the model carries one adapter."""

    def __init__(
        self, settings: RunSettings, registry: Registry, identity: Mapping[str, Any]
    ) -> None:
        """Prepare to build; nothing is loaded yet.

        Args:
            settings: name the components and their options.
            registry: holds the components.
            identity: of the settings when the run began; other weights are refused.
        """
        self.identity = identity
        self._settings = settings
        self._registry = registry
        self._built: dict[str, Any] = {}
        self._adapter: object = None

    def get(self, kind: str) -> Any:  # a component of `kind`, whose type the caller knows
        """Return the chosen component of a kind.

        Raises:
            DataError: the loaded weights are not those that the run began with.
        """
        if kind not in self._built:
            takes_kernel = kind == "trainer" and self._settings.kernel is not None
            parts = {"kernel": self.get("kernel")} if takes_kernel else {}
            name = str(self._settings.component(kind))
            options = self._settings.options.get(kind, {})
            registered = REGISTERED_AS.get(kind, kind)
            self._built[kind] = self._registry.build(registered, name, options, **parts)
            if registered == "model":
                self._settings.require(self.identity)
        return self._built[kind]

    def entry(self, kind: str) -> Entry:
        """Return the registration of the chosen component of a kind; nothing is loaded."""
        return self._settings.entry(self._registry, kind)

    @property
    def asks_questions(self) -> bool:
        """Whether some component needs answers about the candidates."""
        return capabilities.asks_questions(self._registry, self._settings)

    @property
    def continuous(self) -> bool:
        """Whether the model samples features; nothing is loaded for the answer."""
        return self._registry.entry("model", self._settings.model).model_kind == "continuous"

    @property
    def validation(self) -> ValidationOptions | None:
        """Options of the training's validation; None without one, or where the user's pairs leave no prompts for it."""
        options = self.entry("trainer").options
        if not issubclass(options, ValidationOptions) or self._settings.pairs is not None:
            return None
        validation = options.model_validate(self._settings.options["trainer"])
        return validation if validation.validate_every else None

    def model(self, adapter: Path | None) -> BaseModel:
        """Return the model with `adapter` on it, or bare with None."""
        model = self._base_model("model")
        if adapter != self._adapter:
            load_adapter(model, adapter)
            self._adapter = adapter
        return model

    def judge(self, model: Callable[[], BaseModel], adapter: str) -> RunJudge:
        """Return the model that answers: the judge model, as it is published, or `model`, which carries `adapter`."""
        kind = "model" if self._settings.judge_model is None else "judge_model"
        entry = self.entry(kind)
        identity = {
            "judge": entry.name, "distribution": entry.distribution, "version": entry.version,
            "revision": entry.revision, "adapter": adapter if kind == "model" else "",
        }
        return RunJudge(model() if kind == "model" else self._base_model(kind), identity)

    def latents(
        self, kind: str, model: Callable[[], BaseModel], prompts: pa.Table, candidates: pa.Table,
        sampler: Sampler | None = None,
    ) -> dict[Key, Latent] | None:
        """Return the features of a continuous model's candidates where the component of a kind needs them.

        Args:
            kind: scorer or pair-rule.
            model: returns the model with the adapter that the candidates were sampled with.
            prompts: PROMPTS of one shard.
            candidates: columns prompt_id, candidate, seed and shape of the same prompts.
            sampler: the one that sampled them, if not the run's own.
        """
        if not self.continuous or "latents" not in self.entry(kind).needs:
            return None
        return resample_features(
            model(), sampler or self.get("sampler"), prompts, candidates, who=self.entry("sampler").described
        )

    def lend_model(self) -> BaseModel:
        """Return the bare model to a caller who may leave any adapter on it."""
        model = self.model(None)
        self._adapter = object()  # equals no path: the next caller's adapter is attached again
        return model

    def _base_model(self, kind: str) -> BaseModel:
        if kind not in self._built:
            self._set_threads()
        model = cast(BaseModel, self.get(kind))
        self._set_threads()
        return model

    def _set_threads(self) -> None:
        """Fix the number of torch threads, on which the rounding of sums depends; torch is not imported here."""
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self._settings.threads)
