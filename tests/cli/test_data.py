"""`silmm data`: fetches what plugins name, verifies what is here, and tells it in words, JSON, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from silmm.errors import UsageError
from silmm.storage.user_folders import cache_root, data_root
from silmm_cli import main
from tests.benchmarks.data.home import opened, status

PLUGIN = """
from silmm import hookimpl

@hookimpl
def silmm_register_data(register):
    register("toy-data", build, summary="two files of the test")

def build(options):
    from silmm_benchmarks.data.data_file import DataFile, Limits
    from silmm_benchmarks.data.official_data import OfficialData
    from silmm.errors import DataError

    def load(folder):
        if (folder / "a.txt").read_bytes() != b"one":
            raise DataError("a.txt has other counts")
        return "1 prompt"

    return OfficialData((
        DataFile("a.txt", {address!r} + "/a.txt", {sha256!r}, 3, "MIT"),
        DataFile("folder/b.txt", {address!r} + "/b.txt", None, None, "CC-BY-NC-4.0: no commercial use"),
    ), load, Limits(first_pause=0.01))
"""
ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


@pytest.fixture
def home(fake_distribution, monkeypatch):
    """A web server with the files of an installed data set `toy-data`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "toy")
    with opened() as server:
        server.files.update({"a.txt": b"one", "b.txt": b"two"})
        source = PLUGIN.format(address=server.address, sha256=ONE)
        fake_distribution("toy", {"toy": "toy_data_plugin"}, {"toy_data_plugin": source})
        yield server


def silmm(*arguments, **environ):
    return CliRunner().invoke(main, ["data", *map(str, arguments)], env=environ)


def states(result, name="toy-data"):
    return {data_set["name"]: data_set["state"] for data_set in json.loads(result.stdout)["sets"][name]}


def test_pull_fetches_and_shows_the_licences(home, tmp_path):
    """The files lie in the data set's folder, their licences are told, and a second pull asks nobody."""
    first = silmm("pull", "toy-data", "--data-dir", tmp_path, "--json")
    assert first.exit_code == 0, first.output
    assert states(first) == {"a.txt": "downloaded", "folder/b.txt": "recorded"}
    assert (tmp_path / "toy-data" / "folder" / "b.txt").read_bytes() == b"two"
    assert "licence: MIT" in first.stderr
    assert "licence: CC-BY-NC-4.0: no commercial use" in first.stderr
    home.asked.clear()
    second = silmm("pull", "toy-data", "--data-dir", tmp_path, "--json")
    assert states(second) == {"a.txt": "ok", "folder/b.txt": "ok"}
    assert home.asked == []


def test_the_environment_names_the_folder(home, tmp_path):
    """SILMM_DATA is the folder where --data-dir is not given."""
    result = silmm("pull", "toy-data", SILMM_DATA=str(tmp_path / "mine"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine" / "toy-data" / "a.txt").read_bytes() == b"one"
    assert "downloaded" in result.stdout


def test_check_tells_hashes_and_counts(home, tmp_path):
    """Right files and counts: exit code 0, and the loader's line under an empty name."""
    silmm("pull", "toy-data", "--data-dir", tmp_path)
    result = silmm("check", "--data-dir", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert states(result) == {"a.txt": "ok", "folder/b.txt": "ok", "": "ok"}
    shown = silmm("check", "toy-data", "--data-dir", tmp_path)
    assert "1 prompt" in shown.stdout
    assert "no commercial use" in shown.stderr


def test_check_fails_on_what_is_missing_or_changed(home, tmp_path):
    """A missing and a changed file are named, with exit code 4, and nothing is repaired."""
    silmm("pull", "toy-data", "--data-dir", tmp_path)
    (tmp_path / "toy-data" / "a.txt").write_bytes(b"two")
    (tmp_path / "toy-data" / "folder" / "b.txt").unlink()
    result = silmm("check", "toy-data", "--data-dir", tmp_path, "--json")
    assert result.exit_code == 4
    assert states(result) == {"a.txt": "changed", "folder/b.txt": "missing"}
    assert (tmp_path / "toy-data" / "a.txt").read_bytes() == b"two"


def test_check_of_nothing_says_what_can_be_fetched(home, tmp_path):
    """An empty data folder is an error that names the data sets."""
    result = silmm("check", "--data-dir", tmp_path / "nowhere")
    assert result.exit_code == 4
    assert "toy-data" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_home_that_refuses_is_an_error_with_a_way_out(home, tmp_path):
    """The message names the address and the place for the file; the exit code is that of data."""
    home.acts["a.txt"] = [status(404)]
    result = silmm("pull", "toy-data", "--data-dir", tmp_path)
    assert result.exit_code == 4
    assert f"{home.url('a.txt')} answers HTTP 404" in result.stderr
    assert str(tmp_path / "toy-data" / "a.txt") in result.stderr


def test_an_unknown_name_is_answered_with_the_nearest(home, tmp_path):
    """A typing error costs nothing but a message."""
    result = silmm("pull", "toy-dta", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "toy-data" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "site"]


def test_list_shows_what_is_here_and_what_it_costs(home, tmp_path):
    """Names, counts, licences; a size that nobody has published is none."""
    (row,) = json.loads(silmm("list", "--data-dir", tmp_path, "--json").stdout)["sets"]
    assert (row["name"], row["files"], row["here"], row["bytes"]) == ("toy-data", 2, 0, None)
    silmm("pull", "toy-data", "--data-dir", tmp_path)
    shown = silmm("list", "--data-dir", tmp_path)
    assert "2 of 2 files" in shown.stdout


def test_the_folder_is_chosen_by_option_then_environment_then_platform(tmp_path, monkeypatch):
    """--data-dir, $SILMM_DATA, then the platform's own place."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_root(tmp_path / "option") == tmp_path / "option"
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("SILMM_DATA")
    assert data_root() == tmp_path / "xdg" / "silmm"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert data_root() == Path.home() / ".local" / "share" / "silmm"


def test_a_folder_at_an_earlier_default_is_kept(tmp_path, monkeypatch):
    """Where the platform's folder has moved, an existing folder at the earlier place stays in use."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    for variable, root, earlier in (
        ("XDG_DATA_HOME", data_root, "Library/Application Support/silmm"),
        ("XDG_CACHE_HOME", cache_root, "Library/Caches/silmm"),
    ):
        monkeypatch.delenv("SILMM_CACHE", raising=False)
        monkeypatch.setenv(variable, str(tmp_path / "xdg"))
        assert root() == tmp_path / "xdg" / "silmm"
        (tmp_path / earlier).mkdir(parents=True)
        assert root() == tmp_path / earlier


def test_a_data_folder_that_is_a_file_is_refused(tmp_path):
    """The message names the way to another folder."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--data-dir"):
        data_root(tmp_path / "file")
