"""Make docs/images/before-after.png: ``python docs/make_images.py RUN``.

The rule that picks: the first three prompts of each category in the report split, the first image of each
side. A column holds a category.
"""

from __future__ import annotations

import io
import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from silmm.report.reading import all_rows, read_run

OUT = Path(__file__).parent / "images" / "before-after.png"
SIDE, GAP, TEXT, LABEL = 128, 20, 92, 72
ROWS = 3
GREEN, RED, INK, PALE = "#1a7f37", "#c62828", "#222222", "#777777"


def main(run: Path) -> None:
    """Sample the image from a finished run."""
    images = read_run(run).images
    before, *_, after = images.values()
    sides = [_firsts(before), _firsts(after)]
    font = ImageFont.load_default(14)
    columns = len(sides[0]) // ROWS
    band = TEXT + 2 * (SIDE + 24) + GAP
    sheet = Image.new("RGB", (LABEL + columns * (SIDE + GAP), ROWS * band), "white")
    pen = ImageDraw.Draw(sheet)
    for index, pair in enumerate(zip(*sides, strict=True)):
        x = LABEL + index // ROWS * (SIDE + GAP)
        top = index % ROWS * band
        text = "\n".join(textwrap.wrap(pair[0]["prompt"], 20)[:5])
        pen.multiline_text((x, top + 4), text, INK, font)
        for number, row in enumerate(pair):
            y = top + TEXT + number * (SIDE + 24)
            image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
            right, facts = sum(row["holds"]), len(row["holds"])
            colour = GREEN if right == facts else RED
            pen.text((x, y + SIDE + 3), f"{right} of {facts} right", colour, font)
            if index < ROWS:
                pen.text((8, y + SIDE // 2 - 10), ("before", "after")[number], PALE, font)
    OUT.parent.mkdir(exist_ok=True)
    sheet.save(OUT, optimize=True)


def _firsts(folder: Path) -> list[dict]:
    """Return the first image of the first prompts of each category, category by category."""
    rows_by_category: dict[str, dict[str, dict]] = {}
    for row in all_rows(folder):
        prompts = rows_by_category.setdefault(row["category"], {})
        if len(prompts) < ROWS:
            prompts.setdefault(row["prompt_id"], row)
    return [row for prompts in rows_by_category.values() for row in prompts.values()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
