"""The callback that registration hooks receive, and the words in which a plugin describes a component."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import pydantic

from silmm.contracts.models import Capability
from silmm.contracts.options import NoOptions

ModelKind = Literal["discrete", "continuous"]
Part = Literal["kernel", "validate"]
"""What a trainer takes beyond the contract: its factory a kernel, its `train` a validation."""
Factory: TypeAlias = Callable[..., object]

BOTH: tuple[ModelKind, ...] = ("discrete", "continuous")


class Register(Protocol):
    """The callback that registration hooks receive."""

    def __call__(
        self,
        name: str,
        factory: Factory,
        *,
        summary: str,
        options: type[pydantic.BaseModel] = NoOptions,
        requires: Collection[Capability] = (),
        kinds: Collection[ModelKind] = BOTH,
        accepts: Collection[Part] = (),
        defaults: Mapping[str, object] | None = None,
        capabilities: Collection[Capability] = (),
        kind: ModelKind | None = None,
        paper: str = "",
        check: Callable[[], str] | None = None,
        revision: str = "",
        probe: Factory | None = None,
        require_files: Callable[[Any], None] | None = None,
    ) -> None:
        """Register a component.

        Args:
            name: The name on the command line: lower case letters, digits, ``.``, ``_`` and ``-``.
            factory: ``factory(options)`` builds the component and imports what is heavy inside.
            summary: One line of help.
            options: Option class; every field has a default.
            requires: Capabilities that the base model must declare.
            kinds: Kinds of base model that the component works with.
            accepts: Trainers only. "kernel": the factory is ``factory(options, kernel=...)``. "validate":
                ``train(..., validate=...)`` as :class:`silmm.contracts.models.ValidatingTrainer`, and the
                options are a :class:`silmm.contracts.validation_options.ValidationOptions`.
            defaults: Models only: settings that suit this model, for example
                ``{"prompts": 384, "trainer.nll_weight": 0.5}``; users' settings come before them.
            capabilities: Models only: what the model can do.
            kind: Models only: whether its representations are tokens or features.
            paper: Where the paper describes it, for example ``Eq. 3``.
            check: Says in one line that installed files are sound, or raises (`silmm doctor`).
            revision: Content id of installed files that decide what the component does, such as weights:
                a run goes on with the same one only. It must be cheap, it is computed at every start.
            probe: Judges only: ``probe()`` returns a :class:`silmm.probe.Prober`, which examines the judge
                for `silmm probe` and imports what is heavy inside.
            require_files: Judges only: ``require_files(options)`` raises :class:`silmm.errors.DataError` where
                files of the judge are missing, with the way to get them; it loads nothing.

        Raises:
            PluginError: The registration is not valid; the whole plugin counts as broken.
        """
        ...
