"""The callback that registration hooks receive, and the words in which a plugin describes a component."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import pydantic

from silmm.contracts.models import Capability
from silmm.contracts.options import NoOptions

ModelKind = Literal["discrete", "continuous"]
Need = Literal[
    "answers",  # scorers, pair rules: questions are asked about each candidate's images
    "images",   # scorers, pair rules: the candidates' images
    "latents",  # scorers, pair rules: the candidates' features, of a continuous model; image tokens are always there
    "kernel",   # trainers: the factory is factory(options, kernel=...)
    "rollout",  # trainers: the job has a rollout
]
"""What a component uses beyond what every one of its kind is given."""
NEEDS_OF_KIND: Mapping[str, frozenset[Need]] = {
    "scorer": frozenset({"answers", "images", "latents"}),
    "pair-rule": frozenset({"answers", "images", "latents"}),
    "trainer": frozenset({"kernel", "rollout"}),
}
"""Kind of component to what one of them may need."""
DEFAULT_NEEDS: Mapping[str, frozenset[Need]] = {"scorer": frozenset({"answers"})}
"""Kind of component to what one needs that does not say."""
Factory: TypeAlias = Callable[..., object]

BOTH: tuple[ModelKind, ...] = ("discrete", "continuous")


@runtime_checkable
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
        needs: Collection[Need] | None = None,
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
            needs: What it uses beyond what every component of its kind is given (:data:`Need`); None is {"answers"}
                for a scorer and nothing for others. Who needs answers requires "yes_no" of whoever answers.
            defaults: Models only: presets, the settings that suit this model and the options of components that
                were tuned for it, for example ``{"prompts": 384, "trainer/dpo.nll_weight": 0.5}``
                (:func:`silmm.contracts.options.presets`); users' settings come before them. NAME in
                ``KIND/NAME.OPTION`` is a component of silmm or of the model's own distribution; of any other
                it is ``DISTRIBUTION/NAME``.
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


@dataclass(frozen=True)
class Lazy:
    """A factory that imports what it calls when it is called; :func:`lazy` makes one."""

    target: str
    arguments: tuple[object, ...] = ()

    def resolve(self) -> Callable[..., Any]:
        """Import the module and return the attribute.

        Raises:
            ImportError, AttributeError: there is no such module or attribute.
        """
        module, _, path = self.target.partition(":")
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]

    def __call__(self, *options: object, **parts: object) -> Any:
        """Call the target with its own arguments, the options unless they are :class:`NoOptions`, and parts."""
        stated = [option for option in options if type(option) is not NoOptions]
        return self.resolve()(*self.arguments, *stated, **parts)


def lazy(target: str, *arguments: object) -> Lazy:
    """Return a factory for :class:`Register` that imports nothing until a component is built.

    Args:
        target: ``module:attribute``, for example ``my_package.samplers:Beam`` or ``my_package.judges:Vqa.load``.
            It is called with the component's options; a component without options is called without any.
        arguments: what the target takes before its options.
    """
    return Lazy(target, arguments)
