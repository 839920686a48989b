"""Step 1, prompts from the user's own file: text lines, JSON lines or Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from silmm.contracts.candidates import Prompt
from silmm.contracts.components import PrompterResult
from silmm.contracts.models import BaseModel
from silmm.contracts.options import Options, option
from silmm.errors import DataError, UsageError


class FileOptions(Options):
    """Options of `file`."""

    path: str = option(
        "",
        "prompt file: .txt (one prompt per line), .jsonl or .parquet (columns prompt and, optionally, category)",
        file=True,
    )
    max_words: int = option(400, "longest prompt that counts as well formed", ge=1, unit="words")


class FilePrompter:
    """Take the prompts of a file in their order; the model only decides whether it can read them."""

    def __init__(self, options: FileOptions) -> None:
        """Keep the options; see :class:`FileOptions`."""
        self.options = options

    def write(
        self,
        model: BaseModel,
        count: int,
        seed: int,  # noqa: ARG002 - the file's order is the order
        excluded: Callable[[str], bool],
    ) -> PrompterResult:
        """Return the file's first `count` usable prompts.

        Raises:
            UsageError: there is no path.
            DataError: the file is missing, malformed (the message names the line) or holds too few prompts.
        """
        from silmm.storage.tables import read_prompts

        if not self.options.path:
            raise UsageError("prompter 'file' needs a file: give one with --set prompter.path=FILE")
        prompts: dict[str, Prompt] = {}
        rejected: Counter[str] = Counter()
        for prompt in read_prompts(Path(self.options.path)):
            reason = self._refusal(prompt.text, prompts)
            reason = reason or ("excluded" if excluded(prompt.text) else None)
            reason = reason or (None if model.reads(prompt.text) else "unreadable")
            if reason:
                rejected[reason] += 1
                continue
            prompts[prompt.text.lower()] = prompt
            if len(prompts) == count:
                break
        if len(prompts) < count:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items())) or "nothing"
            raise DataError(
                f"{self.options.path} holds {len(prompts)} usable prompts of {count} "
                f"(rejected: {reasons}); ask for fewer or add prompts"
            )
        return PrompterResult(tuple(prompts.values()), dict(sorted(rejected.items())))

    def _refusal(self, text: str, accepted: dict[str, Prompt]) -> str | None:
        if not any(c.isalpha() for c in text) or len(text.split()) > self.options.max_words:
            return "malformed"
        return "duplicate" if text.lower() in accepted else None
