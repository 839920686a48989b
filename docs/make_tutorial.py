"""Runs docs/tutorial.md, refreshes its outputs and writes examples/tutorial.ipynb: ``python docs/make_tutorial.py``.

Every ```python block runs, in order and in one namespace; the ```text block behind it is what it prints. The image that
the page shows is written by the page itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "tutorial.md"
NOTEBOOK = DOCS.parent / "examples" / "tutorial.ipynb"
IMAGE = DOCS / "images" / "tutorial.png"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return code and printed output of each block; "" where it prints nothing."""
    return [(match[1], match[2] or "") for match in BLOCK.finditer(page)]


def run_blocks(sources: Sequence[str]) -> Iterator[str]:
    """Run the blocks one after another in the current folder; yield what each prints."""
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    for number, source in enumerate(sources, start=1):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, f"tutorial.md, block {number}", "exec"), namespace)  # noqa: S102 - our own page
        yield f"{text}\n" if (text := printed.getvalue().rstrip()) else ""


def with_outputs(page: str, outputs: Sequence[str]) -> str:
    """Return the page with new outputs behind its blocks."""
    remaining = iter(outputs)

    def block(match: re.Match[str]) -> str:
        output = next(remaining)
        return f"```python\n{match[1]}```\n" + (f"\n```text\n{output}```\n" if output else "")

    return BLOCK.sub(block, page)


def notebook(page: str) -> dict[str, Any]:
    """Return the page as a notebook, with its outputs and without the image that the page shows."""
    cells: list[dict[str, Any]] = []
    end = 0
    for number, match in enumerate(BLOCK.finditer(page), start=1):
        _add_text(cells, page[end : match.start()])
        printed = {"name": "stdout", "output_type": "stream", "text": _lines(match[2] or "")}
        cells.append({
            "cell_type": "code", "execution_count": number, "id": f"code-{number}", "metadata": {},
            "outputs": [printed] if match[2] else [], "source": _lines(match[1]),
        })
        end = match.end()
    _add_text(cells, page[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _add_text(cells: list[dict[str, Any]], text: str) -> None:
    lines = [line for line in text.strip().splitlines() if not line.startswith("![")]
    text = re.sub(r"\]\((?!http)([^)]+)\)", r"](../docs/\1)", "\n".join(lines))
    if text.strip():
        cells.append({"cell_type": "markdown", "id": f"text-{len(cells)}", "metadata": {}, "source": _lines(text)})


def _lines(text: str) -> list[str]:
    return text.rstrip("\n").splitlines(keepends=True)


def main() -> None:
    """Run the page in a temporary folder and write page, image and notebook."""
    import json

    page, home = PAGE.read_text(encoding="utf-8"), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            outputs = list(run_blocks([source for source, _ in blocks(page)]))
            IMAGE.write_bytes(Path("images.png").read_bytes())
        finally:
            os.chdir(home)
    page = with_outputs(page, outputs)
    PAGE.write_text(page, encoding="utf-8")
    NOTEBOOK.write_text(json.dumps(notebook(page), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
