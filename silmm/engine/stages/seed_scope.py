"""Where in a run a stage works: what its seeds depend on besides the unit of work."""

from __future__ import annotations

from dataclasses import dataclass, replace

from silmm.seeds import derive


@dataclass(frozen=True)
class SeedScope:
    """The run, the iteration, and inside it the place of what is no stage of its own."""

    seed: int
    iteration: int
    inside: tuple[str | int, ...] = ()
    """Empty for the stages; `("rollout", step)` for a rollout."""

    def derive(self, *parts: str | int) -> int:
        """Return the seed of a unit of work of this iteration."""
        return derive(self.seed, "iteration", self.iteration, *self.inside, *parts)

    def within(self, *parts: str | int) -> SeedScope:
        """Return the scope of a part of this one, whose seeds are its own."""
        return replace(self, inside=(*self.inside, *parts))
