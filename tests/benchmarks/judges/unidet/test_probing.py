"""What `silmm probe` tells of UniDet files: sound ones, wrong ones, and ones that do not load."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from silmm_benchmarks.judges.options import UniDetOptions
from silmm_benchmarks.judges.unidet.architecture import R50
from silmm_benchmarks.judges.unidet.judge import UniDetJudge
from silmm_benchmarks.judges.unidet.probing import UniDetProber, weight_facts

from silmm.probe import Probe
from silmm_cli import main
from tests.benchmarks.judges.unidet import recipe

State = dict[str, Any]
STEM = "backbone.bottom_up.stem.conv1_1.norm.running_var"


@pytest.fixture(scope="module")
def complete() -> State:
    """Give the state dict of the narrow ResNeSt network."""
    return recipe.network(recipe.TINY_RS50, stem_gain=1.0, cls_gain=2.0, cls_bias=-11.5).state_dict()


@pytest.fixture
def tell(complete: State, tmp_path: Path) -> Callable[..., tuple[State, list[str], list[str]]]:
    """Save a changed copy of the weights and return what is reported of it."""

    def wrapped(state: State) -> State:
        return {"model": state, "iteration": 90000}

    def save(
        change: Callable[[State], object] = lambda _: None, wrap: Callable[[State], State] = wrapped
    ) -> Any:
        state = {name: value.clone() for name, value in complete.items()}
        change(state)
        torch.save(wrap(state), tmp_path / "weights.pth")
        return weight_facts(tmp_path / "weights.pth", recipe.TINY_RS50)

    return save


def test_a_sound_file(tell: Callable[..., Any], complete: State) -> None:
    """Size, hash, wrapper, types, counters, identity and variances are reported, and there is no problem."""
    facts, problems, notes = tell()
    assert (problems, notes) == ([], [])
    assert (len(facts["sha256"]), facts["container"]) == (64, "zip archive, as torch 1.6 and later write")
    assert facts["top of the file"] == {"model": f"table of {len(complete)}", "iteration": "int 90000"}
    counters = sum(name.endswith("num_batches_tracked") for name in complete)
    assert facts["types"] == {"torch.float32": len(complete) - counters, "torch.int64": counters}
    assert facts["counters"] == {"expected": counters, "present": counters, "beyond": 0}
    assert facts["resembles"] == "unidet-rs200"
    assert facts["identity"] == {
        "objectness_logits (9)": 9, "cls_score (723)": 723, "top_block.p6": [32, 32, 3, 3],
        "conv2.fc1 (RS200 alone)": True,
    }
    least = [float(value.min()) for name, value in complete.items() if name.endswith("running_var")]
    norms = facts["norms"]
    assert (norms["found"], norms["frozen"]) == (len(least), len(least) - counters)
    assert norms["least variance + 1e-5"] == pytest.approx(min(least) + 1e-5)
    json.dumps(facts, allow_nan=False)


def test_frozen_norms_made_from_a_classifiers_weights(tell: Callable[..., Any]) -> None:
    """How many frozen norms hold mean 0, and variance 1 - 1e-5 or 1, is counted."""
    def change(state: State) -> None:
        state[STEM][:] = 1 - 1e-5
        state[STEM.replace("conv1_1", "conv1_2")][:] = 1
        state[STEM.replace("running_var", "running_mean")][:] = 0

    norms = tell(change)[0]["norms"]
    for what in ("mean 0", "variance 1 - 1e-5", "variance 1"):
        assert norms[f"frozen with {what}"] == 1


CAUSE_A = "of them between -1e-5 and 0, as taking eps off leaves (cause a)"


def test_variances_that_eps_was_taken_off(tell: Callable[..., Any]) -> None:
    """Cause (a) of issue 22 is a problem where variance and eps add up to 0, and a note above that."""
    facts, problems, notes = tell(lambda state: state[STEM].__setitem__(2, -1e-5))
    assert (len(problems), notes) == (1, [])
    assert "1 norms, 1 channels" in problems[0]
    assert STEM in problems[0]
    assert facts["norms"][CAUSE_A] == 1
    assert facts["norms"]["least variance + 1e-5"] == 0
    facts, problems, notes = tell(lambda state: state[STEM].__setitem__(2, -5e-6))
    assert (problems, len(notes)) == ([], 1)
    assert "1 norms hold variances below 0" in notes[0]
    facts, problems, _ = tell(lambda state: state[STEM].__setitem__(2, -0.5))
    assert facts["norms"][CAUSE_A] == 0
    assert len(problems) == 1


def test_names_and_numbers_that_differ(tell: Callable[..., Any]) -> None:
    """Missing, unknown and misshapen names, NaN, extra counters and stored settings are each reported."""
    def change(state: State) -> None:
        del state["roi_heads.box_head.0.fc1.bias"]
        state["roi_heads.mask_head.weight"] = torch.zeros(1)
        state["backbone.top_block.p6.bias"] = torch.zeros(7)
        state["backbone.top_block.p7.bias"][0] = float("nan")
        state[STEM.replace("running_var", "num_batches_tracked")] = torch.tensor(3)
        state["pixel_mean"] = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
        state["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)

    facts, problems, _ = tell(change)
    text = "; ".join(problems)
    for part in ("1 missing: roi_heads.box_head.0.fc1.bias", "1 unknown: roi_heads.mask_head.weight",
                 "p6.bias (7,) instead of (32,)", "not finite in backbone.top_block.p7.bias"):
        assert part in text
    assert facts["counters"]["beyond"] == 1
    assert facts["pixel_mean"] == "[103.53, 116.28, 123.675], used is [123.68, 116.779, 103.939]"
    assert "OTHER THAN" in facts["cell anchors"]


def test_numpy_values_and_no_wrapper(tell: Callable[..., Any]) -> None:
    """Arrays of numpy and numbers of numpy in a training's state are read and reported by type."""
    facts, problems, _ = tell(wrap=lambda state: {
        "model": {name: value.numpy() for name, value in state.items()},
        "scheduler": {"base_lrs": [np.float64(0.01)], "last_epoch": np.int64(7)},
    })
    assert problems == []
    assert set(facts["types"]) == {"numpy.float32", "numpy.int64"}
    assert facts["top of the file"]["scheduler"] == "table of 2"
    facts, problems, _ = tell(wrap=lambda state: state)
    assert problems == []
    assert set(facts["top of the file"]) == {"(arrays)"}


class Attack:
    """Makes a folder when it is unpickled by an ordinary unpickler."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> object:
        """Say what unpickling shall do."""
        return os.mkdir, (self.path,)


def silmm(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["probe", *map(str, arguments)])


def test_a_file_that_does_not_load_is_reported(tmp_path: Path, complete: State) -> None:
    """A page, a cut archive, no file, the other network: exit code 1, with the file and what it should be."""
    path = tmp_path / "weights.pth"
    torch.save({"model": complete}, path)
    whole = path.read_bytes()
    contents = {
        "a web page": b"<!DOCTYPE html>quota exceeded", "zip archive, cut off": whole[: len(whole) // 2],
        "empty": b"", "as torch 1.6 and later write": whole,
    }
    for container, content in contents.items():
        path.write_bytes(content)
        done = silmm(f"unidet-r50:{path}", "--json")
        assert done.exit_code == 1, done.output
        answer = json.loads(done.stdout)
        weights = answer["facts"]["files"]["weights"]
        assert container in weights["container"]
        assert weights["bytes"] == len(content)
        assert weights["expected"] == "unidet-r50: 311 arrays of 71,954,034 numbers"
        assert {check["name"] for check in answer["checks"] if check["state"] == "fail"} == {"files", "load"}
    assert weights["resembles"] == "unidet-rs200"


def test_foreign_objects_are_named_and_not_run(tmp_path: Path, complete: State) -> None:
    """A file that would run code is not opened; its calls are reported."""
    path = tmp_path / "weights.pth"
    torch.save({"model": complete, "extra": Attack(str(tmp_path / "harm"))}, path)
    facts, problems, _ = weight_facts(path, R50)
    assert not (tmp_path / "harm").exists()
    assert "could run code" in problems[0]
    if hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        assert facts["objects beyond arrays"] == ["posix.mkdir"]


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without files, the paths are reported, and where the files come from."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    done = silmm("unidet-rs200")
    assert done.exit_code == 1
    assert "found: nothing" in done.stdout
    assert "shikunl/prismer" in done.stdout
    assert "1944" not in done.stdout  # counters are distinguished from arrays
    assert "1671 arrays of 120,709,842 numbers, 273 counters" in done.stdout


@pytest.fixture
def judge(tmp_path: Path, complete: State) -> UniDetJudge:
    """Give a judge on the narrow ResNeSt network."""
    torch.save({"model": complete}, tmp_path / "weights.pth")
    (tmp_path / "names.json").write_text(json.dumps([f"thing {i}" for i in range(722)]))
    options = {"weights": str(tmp_path / "weights.pth"), "labels": str(tmp_path / "names.json")}
    return UniDetJudge(recipe.TINY_RS50, UniDetOptions.model_validate(options))


def examined(judge: UniDetJudge, images: list[Path]) -> dict[str, Any]:
    found = Probe("judge", "narrow", {})
    for name, step in UniDetProber(recipe.TINY_RS50).examine(judge, images, ()):
        found.attempt(name, step)
    return {finding.name: finding for finding in found.findings}


@pytest.mark.slow
def test_images_through_the_detector(judge: UniDetJudge, tmp_path: Path) -> None:
    """Each image has its best detections; the user's also both suppressions and orders of colours."""
    image = tmp_path / "own.png"
    Image.fromarray(recipe.image("a", 90, 120)).save(image)
    found = examined(judge, [image])
    assert set(found) == {
        "canaries", "red circle", "blank", "scene", "own.png",
        *(f"{what}, {name}" for what in ("nms", "colours") for name in ("scene", "own.png")),
    }
    (own,) = judge.detect([Image.open(image)])
    assert found["own.png"].detail.startswith(f"{len(own.labels)} detections in 480x360: {own.labels[0]} ")
    exact = judge.detect_image(Image.open(image), rule="exact")
    counts = f"official {len(own.labels)} detections, exact {len(exact.labels)}; "
    assert found["nms, own.png"].detail.startswith(counts)
    turned = judge.detect_image(Image.open(image), colours="RGB")
    assert len(turned.labels) != len(own.labels)
    counts = f"BGR (official) {len(own.labels)} detections, RGB {len(turned.labels)}; "
    assert found["colours, own.png"].detail.startswith(counts)
    assert found["own.png"].seconds > 0


def test_broken_numbers_and_images_are_findings(judge: UniDetJudge, tmp_path: Path) -> None:
    """NaN in the network and an image that is none fail by name; the other steps go on."""
    judge.network.state_dict()["backbone.top_block.p7.bias"].fill_(float("nan"))
    found = examined(judge, [tmp_path / "absent.png"])
    assert (found["scene"].state, found["absent.png"].state) == ("fail", "fail")
    assert "not finite" in found["scene"].detail
    assert "no such file" in found["absent.png"].detail
