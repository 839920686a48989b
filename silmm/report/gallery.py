"""The images of a report: before and after by category, candidates with their answers, chosen and rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from silmm.rendering.result_table import NONE, Cell, text_table
from silmm.report.reading import IterationRecord, RunRecord, TableRow, all_rows, group, rows_where
from silmm.report.sections import Block, Example, Heading, ImageFigure, Label, Paragraph, Section, Table

FOLDER = "images"
IMAGES_PER_SIDE = 4
CANDIDATES_SHOWN = 12
PROMPTS_PER_GAP = 2
"""Prompts shown of the widest, the middle and the narrowest gaps."""
PREFERENCES_PER_SIDE = 10


class Album:
    """Keeps images as files under content names and remembers which ones a page uses."""

    def __init__(self) -> None:
        """Start empty."""
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes) -> str:
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


# ---------------------------------------------------------------------------------- before and after


def before_after(run: RunRecord, album: Album) -> Section | None:
    """Show the prompts of greatest gain, median and greatest loss of each category."""
    names = list(run.images)
    if len(names) < 2:
        return None
    models = (names[0], names[-1])
    columns = ["prompt_id", "prompt", "category", "holds"]
    shares = [_fact_shares(all_rows(run.images[name], columns)) for name in models]
    shown = _shown_by_gain(*shares)
    prompt_ids = frozenset(prompt for prompts in shown.values() for prompt in prompts)
    before, after = (group(rows_where(run.images[name], "prompt_id", prompt_ids), _prompt_id) for name in models)
    blocks: list[Block] = [Paragraph(
        "Chosen by rule: in each category the prompt with the greatest gain, the median and the one with the greatest "
        "loss (ties by prompt id), with the first images, sampled from the same seeds on both sides. A green frame "
        "marks an image in which all facts hold. Below each image: the number of facts that hold by the judge, and "
        "the model's self-score."
    )]
    for category, prompts in shown.items():
        blocks.append(Heading(category))
        blocks += [_before_after(label, before[prompt], after[prompt], album) for prompt, label in prompts.items()]
    return Section("Images before and after", blocks)


def _fact_shares(rows: Sequence[TableRow]) -> dict[str, dict[str, float]]:
    """Return category -> prompt id -> share of facts that hold, mean over the images."""
    return {
        category: {
            prompt: fmean(sum(image["holds"]) / len(image["holds"]) for image in images)
            for prompt, images in group(members, _prompt_id).items()
        }
        for category, members in group(rows, lambda row: str(row["category"])).items()
    }


def _shown_by_gain(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, str]]:
    """Return category -> prompt id -> why it is shown."""
    shown = {}
    for category, first in before.items():
        second = after.get(category, {})
        order = sorted((second[prompt] - first[prompt], prompt) for prompt in first if prompt in second)
        if not order:
            continue
        picks = {
            "greatest gain" if order[-1][0] > 0 else "least loss": order[-1],
            "median": order[len(order) // 2],
            "greatest loss" if order[0][0] < 0 else "least gain": order[0],
        }
        labels: dict[str, str] = {}
        for reason, (gain, prompt) in picks.items():
            labels.setdefault(prompt, f"{reason}: {gain:+.2f} of its facts")
        shown[category] = labels
    return shown


def _before_after(label: str, before: Sequence[TableRow], after: Sequence[TableRow], album: Album) -> Example:
    sides = {"before": _first_images(before), "after": _first_images(after)}
    figures = [(name, [_sampled_image(image, album) for image in images]) for name, images in sides.items()]
    return Example(str(before[0]["prompt"]), [(label, "mark")], figures, _verdicts(sides))


def _sampled_image(image: TableRow, album: Album) -> ImageFigure:
    holds, self_score = image["holds"], _self_score(image)
    caption = f"{sum(holds)}/{len(holds)}" + ("" if self_score is None else f" · {self_score:+.2f}")
    alt = f"{image['prompt']}, image {image['image_index']}"
    return ImageFigure(album.add(image["image"]["bytes"]), alt, caption, correct=all(holds))


def _first_images(rows: Sequence[TableRow]) -> list[TableRow]:
    return sorted(rows, key=lambda row: int(row["image_index"]))[:IMAGES_PER_SIDE]


def _prompt_id(row: TableRow) -> str:
    return str(row["prompt_id"])


def _self_score(image: TableRow) -> float | None:
    """Return the mean of p(yes) - p(no), or None where an answer is missing or was not finite."""
    yes, no = image["p_yes"] or [], image["p_no"] or []
    if not yes or not no or None in [*yes, *no]:
        return None
    return float(sum(a - b for a, b in zip(yes, no, strict=True)) / len(yes))


def _verdicts(sides: Mapping[str, Sequence[TableRow]]) -> Table:
    """Return the answers of model and judge to each question about the images of both sides."""
    images = [image for rows in sides.values() for image in rows]
    rows = []
    for index, question in enumerate(images[0]["questions"]):
        cells = [str(question)]
        for image in images:
            verdict = "✓" if image["holds"][index] else "✗"
            p_yes = image["p_yes"][index] if image["p_yes"] else None
            cells.append(verdict if p_yes is None else f"{verdict} {p_yes:.2f}")
        rows.append(cells)
    names = [f"{name} {image['image_index'] + 1}" for name, rows in sides.items() for image in rows]
    head = "question (judge ✓ ✗, the model's own p(yes))"
    return Table(text_table([head, *names], rows), summary="questions and answers")


# ---------------------------------------------------------------------------------------- candidates


def candidates(iteration: IterationRecord, album: Album) -> Section | None:
    """Show a prompt of each category with its candidates, questions, answers, scores and pairs."""
    by_category = group(iteration.prompts, lambda row: str(row["category"]))
    shown = [min(prompts, key=_prompt_id) for prompts in by_category.values()]
    prompt_ids = frozenset(map(_prompt_id, shown))
    image_columns = ["prompt_id", "candidate", "image"]
    images = rows_where(iteration.folder / "candidates", "prompt_id", prompt_ids, image_columns)
    if not images or not iteration.scores:
        return None
    questions = rows_where(iteration.folder / "questions", "prompt_id", prompt_ids)
    answers = rows_where(iteration.folder / "answers", "prompt_id", prompt_ids)
    blocks: list[Block] = [Paragraph(
        "One prompt of each category, the one with the smallest content id. Candidates by the model's self-score, with "
        "p(yes) − p(no) of each question; where a candidate was decoded under several noises "
        "(--decodes-per-candidate), its first image and means over all of them."
    )]
    for prompt in shown:
        tables = (images, questions, answers, iteration.scores, iteration.pairs)
        own = [[row for row in rows if row["prompt_id"] == prompt["prompt_id"]] for rows in tables]
        blocks.append(_ranking(prompt, own, album))
    return Section(f"How pairs were made (iteration {iteration.number})", blocks)


def _ranking(prompt: TableRow, tables: Sequence[Sequence[TableRow]], album: Album) -> Example:
    """Return a table of the best and the worst candidates of a prompt."""
    candidate_rows, question_rows, answer_rows, score_rows, pair_rows = tables
    images = {row["candidate"]: row["image"]["bytes"] for row in candidate_rows}
    scores = {row["candidate"]: row["score"] for row in score_rows if row["score"] is not None}
    questions = [str(row["question"]) for row in sorted(question_rows, key=lambda row: int(row["index"]))]
    answered = [row for row in answer_rows if None not in (row["p_yes"], row["p_no"])]
    answers = group(answered, lambda row: f"{row['candidate']} {row['index']}")  # one per decoded image
    roles = {row["rejected"]: "rejected" for row in pair_rows} | {row["chosen"]: "chosen" for row in pair_rows}
    ranked = sorted((c for c in images if c in scores), key=lambda c: (-scores[c], c))
    half = CANDIDATES_SHOWN // 2
    rows: list[list[Cell | str]] = []
    for candidate in ranked if len(ranked) <= CANDIDATES_SHOWN else [*ranked[:half], *ranked[-half:]]:
        means = [_mean_answer(answers.get(f"{candidate} {index}")) for index in range(len(questions))]
        image = Cell(f"candidate {candidate}", image=album.add(images[candidate]))
        rows.append([image, f"{scores[candidate]:+.3f}", _role(roles.get(candidate)), *means])
    columns = ["image", "score", "", *(f"“{question}”" for question in questions)]
    size = f"{len(ranked)} candidates, {len(pair_rows)} pairs"
    labels: list[Label] = [(str(prompt["category"]), "mark"), (size, "soft")]
    return Example(str(prompt["prompt"]), labels, table=Table(text_table(columns, rows)))


def _role(role: str | None) -> Cell:
    if role is None:
        return Cell("")
    return Cell("chosen", tone="chosen") if role == "chosen" else Cell("rejected", tone="rejected")


def _mean_answer(rows: Sequence[TableRow] | None) -> str:
    return f"{fmean(row['p_yes'] - row['p_no'] for row in rows):+.2f}" if rows else NONE


# --------------------------------------------------------------------------------------- preferences


def preferences(iteration: IterationRecord, album: Album) -> Section | None:
    """Show chosen and rejected images of the prompts with the widest, median and narrowest gap."""
    scored = [row for row in iteration.pairs if None not in (row["chosen_score"], row["rejected_score"])]
    pairs = group(scored, _prompt_id)
    labels = _shown_by_gap({
        key: fmean(row["chosen_score"] - row["rejected_score"] for row in rows) for key, rows in pairs.items()
    })
    image_columns = ["prompt_id", "candidate", "image"]
    candidate_rows = rows_where(iteration.folder / "candidates", "prompt_id", frozenset(labels), image_columns)
    if not candidate_rows:
        return None
    images = {(row["prompt_id"], row["candidate"]): row["image"]["bytes"] for row in candidate_rows}
    prompts = {str(row["prompt_id"]): str(row["prompt"]) for row in iteration.prompts}
    blocks: list[Block] = [Paragraph(
        "Chosen by rule: the prompts whose pairs have the widest, the middle and the narrowest mean gap of scores "
        f"(ties by prompt id), {PROMPTS_PER_GAP} of each; at most {PREFERENCES_PER_SIDE} images per side. Below each "
        "image is the model's self-score."
    )]
    for key, label in labels.items():
        sides = [(side, _preferred(side, key, pairs[key], images, album)) for side in ("chosen", "rejected")]
        size = f"{len(pairs[key])} pairs"
        blocks.append(Example(prompts.get(key, key), [(label, "mark"), (size, "soft")], sides))
    return Section(f"Chosen and rejected (iteration {iteration.number})", blocks)


def _shown_by_gap(gaps: Mapping[str, float]) -> dict[str, str]:
    """Return prompt id -> why it is shown, from the gap of each prompt."""
    order = sorted(gaps, key=lambda key: (-gaps[key], key))
    middle = max(0, (len(order) - PROMPTS_PER_GAP) // 2)
    picks = {
        "widest gap": order[:PROMPTS_PER_GAP],
        "middle gap": order[middle : middle + PROMPTS_PER_GAP],
        "narrowest gap": order[-PROMPTS_PER_GAP:],
    }
    labels: dict[str, str] = {}
    for reason, keys in picks.items():
        for key in keys:
            labels.setdefault(key, f"{reason}: {gaps[key]:.3f}")
    return labels


def _preferred(
    side: str, key: str, pairs: Sequence[TableRow], images: Mapping[tuple[str, int], bytes], album: Album
) -> list[ImageFigure]:
    scores = {row[side]: float(row[f"{side}_score"]) for row in pairs}
    best_first = sorted(scores, key=lambda candidate: (-scores[candidate], candidate))
    shown = [candidate for candidate in best_first if (key, candidate) in images][:PREFERENCES_PER_SIDE]
    return [
        ImageFigure(album.add(images[key, c]), f"{side}, candidate {c}", f"{scores[c]:+.3f}") for c in shown
    ]
