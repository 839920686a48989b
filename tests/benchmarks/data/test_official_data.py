"""A data set is verified by published hashes, by recorded ones, and by its benchmark's own counts."""

from __future__ import annotations

import hashlib
import json

import pytest
from silmm_benchmarks.data.data_file import DataFile, Limits
from silmm_benchmarks.data.official_data import RECORD, OfficialData
from silmm_benchmarks.data.web_requests import LONGEST_PAUSE, pause, retry_after

from silmm.errors import DataError


def unwatched(name, done, total):
    """Nobody looks."""


def states(reports):
    return [report.state for report in reports]


@pytest.fixture
def unpublished(official):
    """A file whose hash nobody has published."""
    return official("questions.json", b"[1]", known=False, size=False)


def test_a_hash_that_nobody_published_is_recorded_and_compared(home, unpublished, tmp_path):
    """The first pull writes the hash down; a file that differs later is told as changed."""
    data = OfficialData([unpublished])
    assert states(data.pull(tmp_path, unwatched)) == ["recorded"]
    digest = hashlib.sha256(b"[1]").hexdigest()
    assert json.loads((tmp_path / RECORD).read_bytes()) == {"questions.json": digest}
    assert states(data.check(tmp_path)) == ["ok"]
    (tmp_path / "questions.json").write_bytes(b"[2]")
    (report,) = data.check(tmp_path)
    assert report.state == "changed"
    assert digest in report.detail


def test_a_file_put_by_hand_is_recorded_without_the_network(home, unpublished, tmp_path):
    """Offline, a pull of files that are here already writes hashes down and asks nobody."""
    (tmp_path / "questions.json").write_bytes(b"[by hand]")
    data = OfficialData([unpublished])
    assert states(data.check(tmp_path)) == ["unrecorded"]
    assert not (tmp_path / RECORD).exists()
    assert states(data.pull(tmp_path, unwatched)) == ["recorded"]
    assert home.asked == []
    assert states(data.check(tmp_path)) == ["ok"]


def test_a_home_that_changed_since_the_record_is_refused(home, unpublished, tmp_path):
    """What was recorded once is expected for ever."""
    data = OfficialData([unpublished], limits=Limits(first_pause=0.01))
    data.pull(tmp_path, unwatched)
    (tmp_path / "questions.json").unlink()
    home.files["questions.json"] = b"[other]"
    with pytest.raises(DataError, match="not the expected"):
        data.pull(tmp_path, unwatched)


def test_a_spoilt_file_is_fetched_again(home, official, tmp_path):
    """A pull replaces a file that is not the published one."""
    file = official("a.txt", b"right")
    (tmp_path / "a.txt").write_bytes(b"spoilt")
    data = OfficialData([file])
    assert states(data.check(tmp_path)) == ["changed"]
    assert states(data.pull(tmp_path, unwatched)) == ["downloaded"]
    assert (tmp_path / "a.txt").read_bytes() == b"right"


def test_a_spoilt_file_stays_until_the_right_one_is_here(home, official, tmp_path):
    """Nothing is lost where the home does not answer."""
    file = official("a.txt", b"right")
    home.files["a.txt"] = b"wrong"
    (tmp_path / "a.txt").write_bytes(b"mine")
    with pytest.raises(DataError):
        OfficialData([file]).pull(tmp_path, unwatched)
    assert (tmp_path / "a.txt").read_bytes() == b"mine"


def test_check_names_what_is_missing_and_its_home(official, tmp_path):
    """A missing file is told with its address and its place; the folder stays as it was."""
    file = official("folder/a.txt", b"one")
    (report,) = OfficialData([file]).check(tmp_path / "nowhere")
    assert report.state == "missing"
    assert file.url in report.detail
    assert not (tmp_path / "nowhere").exists()


def test_check_counts_by_the_loader(official, tmp_path):
    """The benchmark's own loader has the last word, once all files are here."""
    file = official("a.txt", b"one\ntwo\n")

    def load(folder):
        lines = (folder / "a.txt").read_text().splitlines()
        if len(lines) != 2:
            raise DataError("a.txt has other counts")
        return f"{len(lines)} prompts"

    data = OfficialData([file], load)
    assert states(data.check(tmp_path)) == ["missing"]
    data.pull(tmp_path, unwatched)
    assert [(item.state, item.detail) for item in data.check(tmp_path)][1:] == [("ok", "2 prompts")]

    def refuse(folder):
        raise DataError("a.txt has other counts")

    assert states(OfficialData([file], refuse).check(tmp_path)) == ["ok", "invalid"]


def test_a_broken_record_is_an_error_with_a_way_out(unpublished, tmp_path):
    """A record that is no JSON object of hashes stops nothing silently."""
    for broken in (b"{", b"[]", b'{"questions.json": 1}'):
        (tmp_path / RECORD).write_bytes(broken)
        with pytest.raises(DataError, match=f"{RECORD}.*Delete it"):
            OfficialData([unpublished]).check(tmp_path)


@pytest.mark.parametrize("second", ["a.txt", "A.TXT", RECORD])
def test_files_cannot_overwrite_each_other(second):
    """Two files of one name, in whatever case, or one that is the record, are no data set."""
    files = [DataFile(name, "https://example.org/a", None, None, "MIT") for name in ("a.txt", second)]
    with pytest.raises(ValueError, match="distinct names"):
        OfficialData(files)


def test_pauses_double_and_end(monkeypatch):
    """1, 2, 4 … seconds, never more than the longest."""
    assert [pause(attempt, 1.0) for attempt in (1, 2, 3)] == [1, 2, 4]
    assert pause(10_000, 1.0) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("999999", LONGEST_PAUSE), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("soon", None), ("", None),
     (None, None),     ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("²", None), ("-5", None)],
)
def test_retry_after_is_read_in_both_forms(header, seconds):
    """Seconds and dates count, within reason; anything else is no wish."""
    assert retry_after(header, now=60.0) == seconds
