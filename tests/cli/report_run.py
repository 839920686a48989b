"""A small whole run for tests of the report, written by hand, and a reader of the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa

from silmm.contracts.candidates import Prompt
from silmm.contracts.records import ANSWERS, CANDIDATES, IMAGE, PAIRS, QUESTIONS, SCORES, prompt_id
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.shards import Shards
from silmm.storage.tables import encode_png, prompt_table

EVIL = "<script>alert('x')</script> & \"quotes\""
SAMPLED = pa.schema([
    ("prompt_id", pa.string()), ("prompt", pa.string()), ("category", pa.string()),
    ("image_index", pa.int32()), ("image", IMAGE),
    ("statements", pa.list_(pa.string())), ("questions", pa.list_(pa.string())),
    ("holds", pa.list_(pa.bool_())), ("p_yes", pa.list_(pa.float64())),
    ("p_no", pa.list_(pa.float64())),
])


def image(shade):
    return encode_png(np.full((32, 32, 3), shade % 256, np.uint8))


def figures(before, after, n=20):
    diff = after - before
    return {"before": before, "after": after, "diff": diff, "ci_low": diff - 0.05,
            "ci_high": diff + 0.05, "n": n}


def make_run(
    folder: Path, prompt: str = "a red circle", steps: int = 12, *, tokens: bool = True
) -> Path:
    """Write a small whole run: two prompts, four candidates each, pairs, metrics, an evaluation."""
    texts = [prompt, "two blue squares"]
    iteration = folder / "iter-1"
    keys = [prompt_id(text) for text in texts]
    cells = [(key, c) for key in keys for c in range(4)]
    score = {cell: 0.9 - 0.4 * cell[1] for cell in cells}
    tables = {
        "prompts": prompt_table([Prompt(texts[0], "color"), Prompt(texts[1], "numeracy")]),
        "candidates": pa.Table.from_pylist(
            [{"prompt_id": k, "candidate": c, "seed": c, "z": [c] if tokens else None, "shape": [1],
              "image": image(40 * c)}
             for k, c in cells],
            schema=CANDIDATES),
        "questions": pa.Table.from_pylist(
            [{"prompt_id": k, "index": 0, "statement": "it", "question": f"is there {t}?"}
             for k, t in zip(keys, texts, strict=True)], schema=QUESTIONS),
        "answers": pa.Table.from_pylist(
            [{"prompt_id": k, "candidate": c, "index": 0, "p_yes": 0.9 - 0.2 * c,
              "p_no": 0.1 + 0.2 * c} for k, c in cells], schema=ANSWERS),
        "scores": pa.Table.from_pylist(
            [{"prompt_id": k, "candidate": c, "score": score[k, c], "status": "ok"}
             for k, c in cells], schema=SCORES),
        "pairs": pa.Table.from_pylist(
            [{"prompt_id": k, "prompt": t, "chosen": 0, "rejected": 3, "chosen_score": 0.9,
              "rejected_score": -0.3} for k, t in zip(keys, texts, strict=True)], schema=PAIRS),
    }
    for name, table in tables.items():
        Shards(iteration / name, 1).commit(0, table)
    lines = [
        json.dumps({"step": s, "loss": 0.69 / s, "margin": 0.1 * s, "accuracy": 0.5 + 0.04 * s,
                    "kl": 0.2 * s, "chosen_logp": 0.01 * s, "rejected_logp": -0.02 * s})
        for s in range(1, steps + 1)
    ]
    atomic_write(iteration / "metrics.jsonl", "".join(f"{line}\n" for line in lines).encode())
    atomic_write(iteration / "prompter.json", to_json({"rejected": {"duplicate": 3}, "made": 2}))
    for skill in (0, 1):
        rows = [
            {"prompt_id": key, "prompt": text, "category": category, "image_index": p,
             "image": image(90 * skill + p), "statements": [text], "questions": [f"{text}?"],
             "holds": [p < 1 + skill], "p_yes": [0.8], "p_no": [0.2]}
            for key, text, category in zip(keys, texts, ("color", "numeracy"), strict=True)
            for p in range(2)
        ]
        shards = Shards(folder / "eval" / f"drawn-{skill}", 1)
        shards.commit(0, pa.Table.from_pylist(rows, schema=SAMPLED))
    atomic_write(folder / "eval" / "images.json", to_json({"before": "drawn-0", "1": "drawn-1"}))
    options = {"pair-rule": {"k": 2}, "trainer": {"nll_weight": 0.5, "learning_rate": 5e-5, "warn_drop": 0.05}}
    settings = {"model": "tiny-discrete", "scorer": "diff-of-prob", "prompts": 2, "seed": 0,
                "iterations": 1, "options": options}
    atomic_write(folder / "run.json", to_json({"settings": settings}))
    atomic_write(folder / "summary.json", to_json({
        "benchmark": "shapes", "metric": "facts", "overall": figures(0.6, 0.7),
        "categories": {"color": figures(0.5, 0.8), "numeracy": figures(0.7, 0.6)},
        "secondary": {"VQA accuracy": figures(0.93, 0.93)}, "extra": {"auc": 0.91},
        "iterations": {"1": figures(0.6, 0.7)}, "protocol": {"prompts": 20}, "partial": False,
        "wall_seconds": {"sample": 3.2},
    }))
    return folder


class Page(HTMLParser):
    """Collects the addresses, the elements and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.names, self.attributes, self.text = [], [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes.update(name for name, _ in attrs)
        self.sources += [v for k, v in attrs if k in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text += data
