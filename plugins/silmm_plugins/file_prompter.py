"""Step 1, prompts from the user's own file: text lines, JSON lines or Parquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from silmm.errors import DataError, UsageError
from silmm.interfaces import BaseModel, Prompt, PrompterResult
from silmm.options import Options


class FileOptions(Options):
    """Options of `file`."""

    path: str = Field(
        default="",
        description="prompt file: .txt (a prompt a line), .jsonl or .parquet (columns prompt and, if "
        "there is one, category)",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    max_words: int = Field(
        default=400,
        ge=1,
        description="longest prompt that counts as well formed",
        json_schema_extra={"paper": "ours", "unit": "words"},
    )


class FilePrompter:
    """Take prompts in the order of the file; nothing of the model is asked."""

    def __init__(self, options: FileOptions) -> None:
        """Keep the options; see :class:`FileOptions`."""
        self.options = options

    def write(
        self,
        model: BaseModel,  # noqa: ARG002 - the contract's
        count: int,
        seed: int,  # noqa: ARG002 - the file's order is the order
        excluded: Callable[[str], bool],
    ) -> PrompterResult:
        """Return the file's first `count` usable prompts, or all of them when `count` is 0.

        Raises:
            UsageError: no path is given.
            DataError: the file is missing, unreadable or holds too few prompts; says the line.
        """
        prompts: dict[str, Prompt] = {}
        rejected: Counter[str] = Counter()
        for prompt in read_prompts(self.options.path):
            reason = self._refusal(prompt.text, prompts, excluded)
            if reason:
                rejected[reason] += 1
                continue
            prompts[prompt.text.lower()] = prompt
            if len(prompts) == count:
                break
        if len(prompts) < max(1, count):
            lost = ", ".join(f"{why} {n}" for why, n in sorted(rejected.items())) or "nothing"
            raise DataError(
                f"{self.options.path} holds {len(prompts)} usable prompts of the {max(1, count)} asked for "
                f"(thrown away: {lost}); ask for fewer or add prompts"
            )
        return PrompterResult(tuple(prompts.values()), dict(sorted(rejected.items())))

    def _refusal(
        self, text: str, seen: dict[str, Prompt], excluded: Callable[[str], bool]
    ) -> str | None:
        if not any(c.isalpha() for c in text) or len(text.split()) > self.options.max_words:
            return "malformed"
        if text.lower() in seen:
            return "duplicate"
        return "excluded" if excluded(text) else None


def read_prompts(name: str) -> Iterator[Prompt]:
    """Yield the prompts of a .txt, .jsonl or .parquet file; blank text lines are skipped.

    Raises:
        UsageError: no name, or an ending that is none of these.
        DataError: the file is missing, unreadable or malformed.
    """
    readers = {".txt": _text, ".jsonl": _json_lines, ".parquet": _parquet}
    path = Path(name)
    if not name or path.suffix not in readers:
        raise UsageError(
            f"prompter 'file' needs a .txt, .jsonl or .parquet file, not {name!r}; give one with "
            "--prompts FILE or --set prompter.path=FILE"
        )
    try:
        yield from readers[path.suffix](path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"prompts {path} cannot be read ({error}); check the file") from error


def _text(path: Path) -> Iterator[Prompt]:
    with path.open(encoding="utf-8") as lines:
        yield from (Prompt(line.strip(), "file") for line in lines if line.strip())


def _json_lines(path: Path) -> Iterator[Prompt]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                text = row["prompt"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"prompts {path}, line {number}: not a JSON object with a 'prompt' ({error!r}); "
                    "mend or remove the line"
                ) from error
            yield _row(path, number, text, row.get("category"))


def _parquet(path: Path) -> Iterator[Prompt]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"prompts {path} is not a Parquet file ({error}); check it") from error
    if "prompt" not in table.column_names:
        raise DataError(
            f"prompts {path} has no column 'prompt' (it has {', '.join(table.column_names)}); rename one"
        )
    texts = table.column("prompt").to_pylist()
    known = "category" in table.column_names
    categories = table.column("category").to_pylist() if known else [None] * len(texts)
    for number, (text, category) in enumerate(zip(texts, categories, strict=True), start=1):
        yield _row(path, number, text, category)


def _row(path: Path, number: int, text: object, category: object) -> Prompt:
    if not isinstance(text, str):
        raise DataError(
            f"prompts {path}, row {number}: the prompt is {type(text).__name__}, not text; mend the row"
        )
    return Prompt(text.strip(), category if isinstance(category, str) and category else "file")
