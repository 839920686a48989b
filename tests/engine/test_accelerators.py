"""Worker processes of one machine share its accelerators evenly, unless the model names one."""

from __future__ import annotations

import pytest

from silmm.engine.workers import accelerators
from tests.toy import artefacts

TORCH = """
from pathlib import Path
from tests.toy import artefacts

class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)

    @staticmethod
    def set_device(number):
        with (Path(__file__).parent / "taken.txt").open("a") as file:
            file.write(f"{number} ")

def set_num_threads(count):
    pass
"""


@pytest.mark.parametrize(("workers", "gpus"), [(8, 8), (8, 2), (3, 8), (1, 1)])
def test_processes_are_dealt_out_in_turn(workers, gpus):
    """Worker i gets GPU i modulo the number of GPUs, so that loads differ by one at most."""
    taken = [accelerators.share(number, gpus) for number in range(workers)]
    assert taken == [number % gpus for number in range(workers)]
    assert max(map(taken.count, range(gpus))) - min(map(taken.count, range(gpus))) <= 1


@pytest.mark.parametrize(
    ("model", "judge", "expected"),
    [
        ("cuda", "", True), ("cpu", "", False), ("cuda:1", "", False), ("cuda:1", "cuda", True),
        ("cpu", "auto", True),
    ],
)
def test_a_named_accelerator_stays(toy_settings, tmp_path, model, judge, expected):
    """`cuda` means the process's own accelerator and `cuda:1` that one, for the judge model as well."""
    (tmp_path / "taste.json").write_text("1")
    sets = [f"model.path={tmp_path}", f"model.device={model}"]
    flags = {"model": "toy-folder"}
    if judge:
        flags["judge_model"] = "toy-folder"
        sets += [f"judge_model.path={tmp_path}", f"judge_model.device={judge}"]
    assert accelerators.any_will_do(toy_settings(sets=sets, **flags)) is expected


@pytest.mark.parametrize(("device", "taken"), [("cuda", ["0", "0", "1"]), ("cuda:1", [])])
def test_each_worker_takes_its_own_and_the_result_stays(
    run_toy, toy_settings, tmp_path, monkeypatch, *, device, taken
):
    """Three workers on two GPUs choose 0, 1 and 0 before they load a model, and write the bytes of one process."""
    for name, text in (("modules/torch.py", TORCH), ("weights/taste.json", "1")):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    sets = [f"model.path={tmp_path / 'weights'}", f"model.device={device}"]
    settings = toy_settings(model="toy-folder", sets=sets)
    run_toy(tmp_path / "one", settings, until="score")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))  # what the workers import
    run_toy(tmp_path / "three", settings, until="score", workers=3)
    assert artefacts.hashes(tmp_path / "three") == artefacts.hashes(tmp_path / "one")
    log = tmp_path / "modules" / "taken.txt"
    assert (sorted(log.read_text().split()) if log.exists() else []) == taken
