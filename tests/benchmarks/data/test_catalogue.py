"""Every data set that comes with silmm is well described, and the official files that are here fit it."""

from __future__ import annotations

import shutil

import pytest
from silmm_benchmarks.data.catalogue import CATALOGUE
from silmm_benchmarks.judges.mplug.checkpoint import check_files
from silmm_benchmarks.judges.weight_files import PULLED, WEIGHTS, locate, weight_files

from silmm.registry.registry import Registry

BENCHMARKS = ("dpg-bench", "geneval", "t2i-compbench", "tifa")


def data_set(name):
    return Registry.load().build("data", f"silmm/{name}", {})


def states(reports):
    return {report.name: report.state for report in reports}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_data_set_has_files_licences_and_safe_homes(name):
    """Each entry of the catalogue leads to files over https with a licence, and is registered."""
    files = data_set(name).files
    assert files
    assert all(file.url.startswith("https://") and file.licence for file in files)


def test_every_pulled_judge_finds_its_files_where_they_come(tmp_path, monkeypatch):
    """A folder with all files of a data set is where the judge of that name looks for its weights."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    folders = {home.folder: judge for judge, home in WEIGHTS.items() if home.folder in PULLED}
    assert folders.keys() == PULLED
    for folder, judge in folders.items():
        for file in data_set(folder).files:
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / file.name).write_bytes(b"x")
        assert locate(judge, "") == tmp_path / folder
        assert weight_files(tmp_path / folder)
    (tmp_path / "mplug").mkdir()
    for file in data_set("mplug").files:
        (tmp_path / "mplug" / file.name).write_bytes(b"x")
    check_files(tmp_path / "mplug")


def test_the_benchmarks_are_in_the_catalogue():
    """`silmm data pull geneval t2i-compbench tifa dpg-bench` knows its names, and each has a loader that counts."""
    assert {name for name, source in CATALOGUE.items() if source.benchmark} == {*BENCHMARKS}


def test_the_official_prompts_of_t2i_compbench_fit(official_data, tmp_path):
    """The published files have the listed hashes, and the loader counts 2,400 prompts."""
    for path in official_data("t2i-compbench").rglob("*.txt"):
        shutil.copy(path, tmp_path)
    reports = data_set("t2i-compbench").check(tmp_path)
    assert set(states(reports).values()) == {"ok"}
    assert reports[-1].detail.startswith("2,400 prompts")


def test_the_official_prompts_of_geneval_fit(official_data, tmp_path):
    """The published file has the listed hash, and the loader counts 553 prompts for 2,212 images."""
    shutil.copy(official_data("geneval/evaluation_metadata.jsonl"), tmp_path)
    reports = data_set("geneval").check(tmp_path)
    assert set(states(reports).values()) == {"ok"}
    assert reports[-1].detail.startswith("553 prompts for 2,212 images")


def test_the_official_captions_of_tifa_fit(official_data, tmp_path):
    """The published captions have the listed hash; the questions, which are not at hand, are missing."""
    shutil.copy(official_data("tifa/tifa_v1.0_text_inputs.json"), tmp_path)
    assert states(data_set("tifa").check(tmp_path)) == {
        "tifa_v1.0_text_inputs.json": "ok", "tifa_v1.0_question_answers.json": "missing",
    }


def test_the_official_prompts_of_dpg_bench_fit(official_data, tmp_path):
    """The 1,065 published prompts have the listed hashes; the questions, not at hand, are missing."""
    shutil.copytree(official_data("dpg-bench/prompts"), tmp_path / "prompts")
    told = states(data_set("dpg-bench").check(tmp_path))
    assert told.pop("dpg_bench.csv") == "missing"
    assert (len(told), set(told.values())) == (1065, {"ok"})
