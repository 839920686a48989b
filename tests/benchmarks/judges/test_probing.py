"""`silmm probe` of judges other than UniDet: their files, canaries, images, and what does not load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from silmm_benchmarks.judges.file_facts import header
from silmm_benchmarks.judges.judge_probing import JudgeProber
from silmm_benchmarks.judges.mplug.checkpoint import WEIGHTS_FILE
from silmm_benchmarks.judges.vqa.blip_probing import weight_facts

from silmm.registry.registry import Registry
from silmm_cli import main
from tests.benchmarks.judges import tiny_models


def probed(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its object."""
    done = CliRunner().invoke(main, ["probe", *map(str, arguments), "--json"])
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def details(told: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["detail"] for check in told["checks"]}


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return target


def test_mplug_tells_its_settings_and_its_answers(goldens: Path) -> None:
    """Sizes and decoding rule, names that are left alone, tokens, and answers with scores, best first."""
    folder = goldens / "checkpoints/mplug/original"
    code, told = probed(f"mplug:{folder}", "--prompt", "is there a dog?")
    files = told["facts"]["files"]
    assert (files["settings"]["beam_size"], files["settings"]["max_length"]) == (5, 10)
    assert any(text.startswith("image_res 504") for text in files["settings"]["other than the defaults"])
    assert files["settings"]["image tokens"] == files["settings"]["image_res"] ** 2 // 14**2 + 1
    weights = files["pytorch_model.bin"]
    assert (weights["lacks"], weights["has unknown"], weights["has other sizes"]) == ([], [], [])
    assert weights["left alone, by part"]
    assert "101" in files["tokens of a question"]
    checks = details(told)
    assert checks["scene"].startswith("'is there a dog?': '")
    assert {check["name"] for check in told["checks"] if check["state"] == "fail"} <= {"canaries"}
    assert code == (1 if "failed" in checks["canaries"] else 0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.yaml").unlink(), "needs config.yaml"),
        (lambda folder: (folder / "vocab.txt").write_text("a\nb\n"), "[CLS] and [SEP]"),
        (lambda folder: (folder / "config_bert.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"<html>"), "could run code"),
        (lambda folder: torch.save({"visn_fc.weight": torch.zeros(2)}, folder / WEIGHTS_FILE), "lacks"),
    ],
)
def test_an_mplug_folder_that_does_not_load(
    goldens: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    """What is wrong is told with size and hash of each file that is there; the exit code is 1."""
    folder = copied(goldens / "checkpoints/mplug/original", tmp_path / "mplug")
    damage(folder)
    code, told = probed(f"mplug:{folder}")
    assert code == 1
    files = told["facts"]["files"]
    assert all("sha256" in files[name] for name in ("pytorch_model.bin", "config_bert.json", "config.yaml")
               if (folder / name).exists())
    failed = {check["name"]: check["detail"] for check in told["checks"] if check["state"] == "fail"}
    assert set(failed) == {"files", "load"}
    assert any(words in check["detail"] for check in told["checks"])


@pytest.fixture
def blip(goldens: Path, tmp_path: Path) -> Path:
    """Give a folder with a tiny BLIP-VQA in the original layout and the vocabulary."""
    return tiny_models.recorded_blip(goldens, tmp_path)


def test_blip_tells_positions_and_words(blip: Path) -> None:
    """Positions, the two tokens behind the vocabulary, yes and no, and how much of all words they are."""
    code, told = probed(f"blip-vqa:{blip}")
    files = told["facts"]["files"]
    weights = files["model_base_vqa_capfilt_large.pth"]
    assert weights["positions"].startswith("900 + 1")
    assert set(weights["words"].values()) == {30524}
    assert set(weights["by part"]) == {"visual_encoder", "text_encoder", "text_decoder"}
    assert files["vocabulary"]["ids"] == {"yes": 2748, "no": 2053, "[CLS]": 101, "[SEP]": 102}
    checks = details(told)
    assert "yes and no are 0.0" in checks["scene"]
    assert code == (1 if "failed" in checks["canaries"] else 0)


def test_a_blip_file_that_does_not_load(blip: Path) -> None:
    """Another grid of positions, a foreign name and a vocabulary of other words are each told."""
    path = blip / "model_base_vqa_capfilt_large.pth"
    state = torch.load(path, weights_only=True)["model"]
    state |= {"visual_encoder.pos_embed": torch.zeros(1, 577, 24), "itm_head.weight": torch.zeros(2)}
    torch.save({"model": state}, path)
    (blip / "vocab.txt").write_text("yes\nno\n")
    code, told = probed(f"blip-vqa:{blip}")
    failed = "; ".join(check["detail"] for check in told["checks"] if check["state"] == "fail")
    assert code == 1
    for words in ("576 + 1", "itm_head.weight", "2 words, yes 0, no 1"):
        assert words in failed


def test_facts_of_odd_files_are_told_not_raised(blip: Path, tmp_path: Path) -> None:
    """An array without sides is a problem beside all other facts; a header of another form is no header."""
    path = blip / "model_base_vqa_capfilt_large.pth"
    state = torch.load(path, weights_only=True)["model"]
    torch.save({"model": state | {"visual_encoder.pos_embed": torch.zeros(())}}, path)
    facts, problems = weight_facts(path)
    assert facts["positions"] == "none"
    assert problems == ["visual_encoder.pos_embed has the shape []"]
    for number, text in enumerate((b"[1]", b'{"a": 3}', b'{"a": {"dtype": "F32"}}', b"{")):
        odd = tmp_path / f"{number}.safetensors"
        odd.write_bytes(len(text).to_bytes(8, "little") + text)
        assert header(odd) is None


def test_any_judge_is_probed_alike(tiny: Callable[..., Path], images: list[Any], tmp_path: Path) -> None:
    """Depth, a matcher and free answers: files with hashes, canaries, and what each says of an image."""
    images[0].save(tmp_path / "own.png")
    _, told = probed(f"dpt-hybrid:{tiny('dpt')}", "--image", tmp_path / "own.png")
    files, checks = told["facts"]["files"], details(told)
    assert len(files["model.safetensors"]["sha256"]) == 64
    assert files["model.safetensors"]["types"] == {"F32": files["model.safetensors"]["arrays"]}
    assert files["config.json"]["model_type"] == "dpt"
    assert checks["own.png"].startswith("inverse depth {}x{}, ".format(*images[0].size))
    _, told = probed(f"mpnet-match:{tiny('mpnet')}")
    assert "canaries" in details(told)
    assert "scene" not in details(told)  # it looks at no image
    assert told["facts"]["peak memory, MB"]["process"] > 100


@pytest.mark.parametrize("name", ["clip-vit-b-32", "dpt-hybrid", "mpnet-match", "vilt", "blip-vqa", "mplug"])
def test_weights_that_are_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every judge says in a finding what it needs, from where, and where it belongs."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    code, told = probed(name)
    assert code == 1
    failed = [check for check in told["checks"] if check["state"] == "fail"]
    assert [check["name"] for check in failed] == ["files", "load"]
    assert str(tmp_path) in failed[0]["detail"]
    assert "https://" in failed[0]["detail"]
    assert ("silmm data pull" in failed[0]["detail"]) is (name != "vilt")  # no data set of its own
    assert failed[1]["detail"] == "does not load, for the reason above"


def test_every_judge_of_the_package_has_a_prober() -> None:
    """Each is registered with one, but for the exact parser of a sampled world, which has no files."""
    entries = [entry for entry in Registry.load().entries("judge") if entry.distribution == "silmm"]
    assert [entry.name for entry in entries if entry.probe is None] == ["shapes-parser"]
    for entry in entries:
        if entry.probe is not None:
            assert isinstance(entry.probe(), JudgeProber)
