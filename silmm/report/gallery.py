"""The images of a report: before and after by category, and where the pairs came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from silmm.report.markup import Markup, join, table, tag
from silmm.report.reading import IterationRecord, Row, RunRecord, all_rows, group, rows_where

NOTHING = Markup("")
FOLDER = "images"
PER_SIDE = 4
CANDIDATES_SHOWN = 12


class Album:
    """Keeps images as files under content names and remembers which ones a page uses."""

    def __init__(self) -> None:
        """Start empty."""
        self.files: dict[str, bytes] = {}

    def place(self, content: bytes) -> str:
        """Keep a PNG and return its address, relative to the page."""
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.png"
        self.files[name] = content
        return f"{FOLDER}/{name}"

    def write(self, report: Path) -> None:
        """Write all images below the report's folder."""
        if self.files:
            (report / FOLDER).mkdir()
        for name, content in sorted(self.files.items()):
            (report / FOLDER / name).write_bytes(content)


def before_after(run: RunRecord, album: Album) -> Markup:
    """Show, of each category, the prompts of greatest gain, median and greatest loss."""
    names = list(run.images)
    if len(names) < 2:
        return NOTHING
    columns = ["prompt_id", "prompt", "category", "holds"]
    means = [_means(all_rows(run.images[name], columns)) for name in (names[0], names[-1])]
    chosen = _chosen(*means)
    wanted = frozenset(prompt for prompts in chosen.values() for prompt in prompts)
    sides = [
        group(rows_where(run.images[name], "prompt_id", wanted), _prompt_id)
        for name in (names[0], names[-1])
    ]
    parts = [
        tag("h2", "Images before and after"),
        tag(
            "p",
            "Chosen by rule: in each category the prompt with the greatest gain, the median "
            "and the one with the greatest loss (ties by prompt id), with first images, sampled "
            "from the same seeds on both sides. A green frame marks an image in which all facts "
            "hold. Below each: facts that hold by the judge, and the model's own score.",
            class_="soft",
        ),
    ]
    for category, prompts in chosen.items():
        parts.append(tag("h3", category))
        for prompt, label in prompts.items():
            parts.append(_example(label, sides[0][prompt], sides[1][prompt], album))
    return join(parts)


def candidates(iteration: IterationRecord, album: Album) -> Markup:
    """Show a prompt of each category with its candidates, questions, answers, scores and pairs."""
    groups = group(iteration.prompts, lambda row: str(row["category"]))
    shown = {
        name: min(rows, key=_prompt_id) for name, rows in groups.items()
    }
    wanted = frozenset(str(row["prompt_id"]) for row in shown.values())
    images = rows_where(
        iteration.folder / "candidates", "prompt_id", wanted, ["prompt_id", "candidate", "image"]
    )
    if not images or not iteration.scores:
        return NOTHING
    asked = rows_where(iteration.folder / "questions", "prompt_id", wanted)
    answers = rows_where(iteration.folder / "answers", "prompt_id", wanted)
    parts = [
        tag("h2", f"How pairs were made (iteration {iteration.number})"),
        tag(
            "p",
            "One prompt of each category, the one with the smallest content id. Candidates by the "
            "model's own score, beside p(yes) − p(no) of each question; where a candidate was decoded "
            "under several noises (--decodes-per-candidate), its first image and means over all of them.",
            class_="soft",
        ),
    ]
    for row in shown.values():
        key = row["prompt_id"]
        tables = (images, asked, answers, iteration.scores, iteration.pairs)
        mine = [[one for one in rows if one["prompt_id"] == key] for rows in tables]
        parts.append(_ranking(row, mine, album))
    return join(parts)


def _means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return category -> prompt id -> share of facts right."""
    found: dict[str, dict[str, float]] = {}
    for category, members in group(rows, lambda row: str(row["category"])).items():
        found[category] = {
            prompt: sum(sum(r["holds"]) / len(r["holds"]) for r in images) / len(images)
            for prompt, images in group(members, _prompt_id).items()
        }
    return found


def _chosen(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, str]]:
    """Return category -> prompt id -> why it is shown."""
    chosen = {}
    for category, first in before.items():
        second = after.get(category, {})
        order = sorted((second[p] - first[p], p) for p in first if p in second)
        if not order:
            continue
        picks = {
            "greatest gain" if order[-1][0] > 0 else "least loss": order[-1],
            "median": order[len(order) // 2],
            "greatest loss" if order[0][0] < 0 else "least gain": order[0],
        }
        labels: dict[str, str] = {}
        for why, (difference, prompt) in picks.items():
            labels.setdefault(prompt, f"{why}: {difference:+.2f} of its facts")
        chosen[category] = labels
    return chosen


def _example(label: str, before: Sequence[Row], after: Sequence[Row], album: Album) -> Markup:
    sides = [
        tag("div", tag("h4", name), _images(rows, album), class_="side")
        for name, rows in (("before", before), ("after", after))
    ]
    head = tag(
        "header", tag("q", str(before[0]["prompt"])), tag("span", label, class_="mark")
    )
    return tag(
        "div", head, tag("div", sides, class_="sides"), _verdicts(before, after), class_="example"
    )


def _images(rows: Sequence[Row], album: Album) -> Markup:
    figures = []
    for row in _first(rows):
        share = sum(row["holds"]) / len(row["holds"])
        own = _own_score(row)
        caption = f"{sum(row['holds'])}/{len(row['holds'])}"
        if own is not None:
            caption += f" · {own:+.2f}"
        image = tag(
            "img", src=album.place(row["image"]["bytes"]), class_="right" if share == 1 else None,
            alt=f"{row['prompt']}, image {row['image_index']}", loading="lazy",
        )
        figures.append(tag("figure", image, tag("figcaption", caption), class_="image"))
    return tag("div", figures, class_="images")


def _first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["image_index"]))[:PER_SIDE]


def _prompt_id(row: Row) -> str:
    return str(row["prompt_id"])


def _own_score(row: Row) -> float | None:
    """Return the mean of p(yes) - p(no), or None where an answer is missing or was not finite."""
    yes, no = row["p_yes"] or [], row["p_no"] or []
    if not yes or not no or None in [*yes, *no]:
        return None
    return float(sum(a - b for a, b in zip(yes, no, strict=True)) / len(yes))


def _verdicts(before: Sequence[Row], after: Sequence[Row]) -> Markup:
    """Return, for each question, the answer of model and judge on the images of both sides."""
    sides = [_first(rows) for rows in (before, after)]
    rows = []
    for index, question in enumerate(before[0]["questions"]):
        cells = [str(question)]
        for side in sides:
            for row in side:
                judged = "✓" if row["holds"][index] else "✗"
                value = row["p_yes"][index] if row["p_yes"] else None
                cells.append(judged if value is None else f"{judged} {value:.2f}")
        rows.append(cells)
    head = ["question (judge ✓ ✗, the model's own p(yes))"]
    for name, side in zip(("before", "after"), sides, strict=True):
        head += [f"{name} {row['image_index'] + 1}" for row in side]
    return tag("details", tag("summary", "questions and answers"), table(head, rows))


def _ranking(prompt: Row, tables: Sequence[Sequence[Row]], album: Album) -> Markup:
    candidate_rows, asked, answers, scored, pairs = tables
    images = {row["candidate"]: row["image"]["bytes"] for row in candidate_rows}
    scores = {row["candidate"]: row["score"] for row in scored if row["score"] is not None}
    questions = [str(row["question"]) for row in sorted(asked, key=lambda row: int(row["index"]))]
    answered = [row for row in answers if None not in (row["p_yes"], row["p_no"])]
    told = group(answered, lambda row: f"{row['candidate']} {row['index']}")  # once an image
    role = {row["rejected"]: "rejected" for row in pairs}
    role |= {row["chosen"]: "chosen" for row in pairs}
    ranked = sorted((c for c in images if c in scores), key=lambda c: (-scores[c], c))
    half = CANDIDATES_SHOWN // 2
    shown = ranked if len(ranked) <= CANDIDATES_SHOWN else [*ranked[:half], *ranked[-half:]]
    rows = []
    for candidate in shown:
        marked = role.get(candidate, "")
        means = [_mean_answer(told.get(f"{candidate} {index}")) for index in range(len(questions))]
        rows.append([
            tag("img", src=album.place(images[candidate]), alt=f"candidate {candidate}",
                loading="lazy"),
            f"{scores[candidate]:+.3f}",
            tag("span", marked, class_=f"mark {'up' if marked == 'chosen' else 'down'}")
            if marked else "",
            *means,
        ])
    head = tag(
        "header", tag("q", str(prompt["prompt"])),
        tag("span", str(prompt["category"]), class_="mark"),
        tag("span", f"{len(ranked)} candidates, {len(pairs)} pairs", class_="soft"),
    )
    names = ["image", "score", "", *(f"“{question}”" for question in questions)]
    return tag("div", head, table(names, rows), class_="example")


def _mean_answer(rows: Sequence[Row] | None) -> str:
    if not rows:
        return "–"
    return f"{sum(row['p_yes'] - row['p_no'] for row in rows) / len(rows):+.2f}"
