"""Features H of the candidates that pairs use: bfloat16 shards, committed like tables, read when touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from silmm.errors import DataError
from silmm.storage.sha256_cache import sha256_file
from silmm.storage.shards import Shards

if TYPE_CHECKING:
    from silmm.contracts.models import Latent


@dataclass(frozen=True)
class FeatureShards(Shards):
    """Shards as safetensors files: one bfloat16 tensor (L, D) for each candidate, `prompt_id/candidate`.

    bfloat16 halves the disk; its rounding (2^-9 of a value) is far below the distance of two candidates.
    """

    suffix: ClassVar[str] = ".safetensors"

    def commit_features(self, index: int, features: Mapping[tuple[str, int], Latent]) -> None:
        """Store H of each (prompt_id, candidate), (L, D) each, and then the record of the shard.

        Raises:
            OutOfSpace: the disk is full.
            DataError: the system refused the write.
        """
        import torch
        from safetensors.torch import save

        tensors = {
            _key(*name): torch.from_numpy(latent).to(torch.bfloat16).contiguous()
            for name, latent in features.items()
        }
        self._commit(index, save(tensors), len(tensors), {})

    def open(self, index: int) -> Any:
        """Return a shard as an open safetensors file, after checking its bytes against its record.

        Raises:
            DataError: the shard is missing, unreadable or not the one that was committed.
        """
        from safetensors import safe_open

        self._check(index, sha256_file(self.data(index)))
        return safe_open(self.data(index), framework="pt")


class FeatureReader:
    """Reads features of any prompt; each shard is checked once and then stays mapped, not loaded."""

    def __init__(self, shards: FeatureShards) -> None:
        """Open nothing yet."""
        self._shards = shards
        self._files: dict[int, Any] = {}

    def read(self, index: int, prompt_id: str, candidate: int) -> Latent:
        """Return H of a candidate from shard `index`, float32 (L, D).

        Raises:
            DataError: the shard is not what was committed, or does not hold the candidate.
        """
        from safetensors import SafetensorError

        if index not in self._files:
            self._files[index] = self._shards.open(index)
        try:
            features: Latent = self._files[index].get_tensor(_key(prompt_id, candidate)).float().numpy()
        except SafetensorError as error:
            raise DataError(
                f"{self._shards.data(index)} holds no features of candidate {candidate} of prompt "
                f"{prompt_id}, which a pair uses. Delete the folder {self._shards.folder} and run the same "
                "command again: the features will be sampled again."
            ) from error
        return features


class KeptFeatures(Sequence["Latent"]):
    """H of some candidates of a prompt, float32 (L, D) each, read from the disk at each touch."""

    def __init__(
        self, reader: FeatureReader, index: int, prompt_id: str, candidates: Sequence[int]
    ) -> None:
        """Bind the candidates of a prompt in shard `index`."""
        self._reader = reader
        self._index = index
        self._prompt_id = prompt_id
        self._candidates = tuple(candidates)

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self._candidates)

    @overload
    def __getitem__(self, position: int) -> Latent: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Latent]: ...
    def __getitem__(self, position: int | slice) -> Latent | Sequence[Latent]:
        """Return the features of one candidate, or a view of some."""
        chosen = self._candidates[position]
        if isinstance(chosen, tuple):
            return KeptFeatures(self._reader, self._index, self._prompt_id, chosen)
        return self._reader.read(self._index, self._prompt_id, chosen)

    def __iter__(self) -> Iterator[Latent]:
        """Yield the features of one candidate after the other."""
        return (self[position] for position in range(len(self)))


def _key(prompt_id: str, candidate: int) -> str:
    return f"{prompt_id}/{candidate}"
