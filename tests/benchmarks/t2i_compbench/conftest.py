"""A small data folder with prompts of its own, in the official files' forms."""

from __future__ import annotations

from pathlib import Path

import pytest

PROMPTS = {
    "color": ["a red apple and a green book", "a blue cup."],
    "spatial": ["a dog on the left of a cat"],
    "3d_spatial": ["a dog in front of a cat"],
    "numeracy": ["two dogs and a cat"],
    "non_spatial": ["A man is reading a book."],
    "complex": ["The red dog is near the black cat.", "The old dog sleeps. It snows."],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make prompt files with CRLF and LF ends, the object list and the two complex lists."""
    folder = tmp_path / "data"
    folder.mkdir()
    for category, prompts in PROMPTS.items():
        end = "\n" if category in ("numeracy", "3d_spatial") else "\r\n"
        (folder / f"{category}_val.txt").write_text(end.join(prompts), newline="")
    (folder / "new_objects.txt").write_text("dog - dogs\ncat - cats\nsheep - sheep\n")
    (folder / "complex_val_spatial.txt").write_text("The red dog is near the black cat.\n")
    (folder / "complex_val_action.txt").write_text("the old dog sleeps\n")
    return folder
