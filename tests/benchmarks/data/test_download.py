"""Files come whole and verified from a home that cuts, refuses, lies and vanishes, or they do not come."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from silmm_benchmarks.data.files import DataFile
from silmm_benchmarks.data.official import OfficialData

from silmm.errors import DataError
from tests.benchmarks.data.home import serve, status
from tests.conftest import REPOSITORY

BIG = bytes(range(256)) * 4096
FAST = 0.01


def pull(folder, *files, watch=lambda name, done, total: None):
    return OfficialData(files, first_pause=FAST).pull(folder, watch)


def states(reports):
    return [report.state for report in reports]


def strangers(folder, *names):
    """Everything in a folder but the named files and the lock."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {*names, ".lock"}


def test_files_come_with_their_bytes_and_nothing_else_stays(home, official, tmp_path):
    """After a pull each file has its home's bytes, and no partial file is left."""
    files = [official("a.txt", b"one"), official("folder/b.bin", BIG), official("empty.txt", b"")]
    reports = pull(tmp_path, *files)
    assert states(reports) == ["downloaded"] * 3
    assert [(tmp_path / file.name).read_bytes() for file in files] == [b"one", BIG, b""]
    assert strangers(tmp_path, *(file.name for file in files)) == set()


def test_what_is_here_is_not_asked_for_again(home, official, tmp_path):
    """A second pull sends no request, even with the home gone."""
    file = official("a.txt", b"one")
    pull(tmp_path, file)
    home.asked.clear()
    assert states(pull(tmp_path, file)) == ["ok"]
    assert home.asked == []


def test_a_cut_connection_goes_on_where_it_was(home, official, tmp_path):
    """A home that closes the line early is asked for the rest by range, never again for what came."""
    file = official("big.bin", BIG)
    home.acts["big.bin"] = [serve(cut_after=300_000), serve(cut_after=100_000)]
    pull(tmp_path, file)
    assert home.ranges() == [None, "bytes=300000-", "bytes=400000-"]
    assert (tmp_path / "big.bin").read_bytes() == BIG


def test_a_home_without_ranges_starts_over(home, official, tmp_path):
    """Where the home ignores the range, the file is taken from its start and still right."""
    file = official("big.bin", BIG)
    home.acts["big.bin"] = [serve(cut_after=300_000), serve(ranges=False)]
    pull(tmp_path, file)
    assert (tmp_path / "big.bin").read_bytes() == BIG


@pytest.mark.parametrize("known", [True, False])
def test_a_changed_version_is_never_mixed_with_the_old_bytes(home, official, tmp_path, known):
    """When the home's file changes between two requests, the result is one version, not a mixture."""
    old, new = BIG, BIG[::-1]
    official("big.bin", old)
    home.tags["big.bin"] = '"old"'

    def change(answer):
        official("big.bin", new)
        home.tags["big.bin"] = '"new"'
        serve()(answer)

    home.acts["big.bin"] = [serve(cut_after=300_000), change]
    file = replace(official("big.bin", old), sha256=hashlib.sha256(new).hexdigest() if known else None)
    pull(tmp_path, file)
    assert (tmp_path / "big.bin").read_bytes() == new


def test_without_a_hash_and_a_version_the_file_is_taken_from_the_start(home, official, tmp_path):
    """Bytes that can be compared with nothing are not continued."""
    file = official("big.bin", BIG, known=False)
    home.acts["big.bin"] = [serve(cut_after=300_000)]
    pull(tmp_path, file)
    assert home.ranges() == [None, None]


def test_wrong_bytes_are_refused_and_thrown_away(home, official, tmp_path):
    """A file with another hash than published is an error that names both, and nothing is kept."""
    file = official("a.txt", b"right")
    home.files["a.txt"] = b"wrong"
    with pytest.raises(DataError, match=rf"{hashlib.sha256(b'wrong').hexdigest()}.*{file.sha256}"):
        pull(tmp_path, file)
    assert strangers(tmp_path) == set()


def test_wrong_left_overs_are_told_from_a_wrong_home(home, official, tmp_path):
    """Where only the partial file was bad, the file is fetched once more and comes."""
    file = official("big.bin", BIG)
    home.acts["big.bin"] = [serve(cut_after=300_000, other=BIG[::-1]), *[serve(cut_after=0)] * 5]
    with pytest.raises(DataError, match="300000 bytes are kept"):
        pull(tmp_path, file)
    pull(tmp_path, file)
    assert (tmp_path / "big.bin").read_bytes() == BIG


def test_another_size_is_refused_before_the_bytes_come(home, official, tmp_path):
    """A home whose file has another length than published is an error at its first answer."""
    file = replace(official("big.bin", BIG), size=17)
    seen = []
    with pytest.raises(DataError, match="has 1048576 bytes, not the expected 17"):
        pull(tmp_path, file, watch=lambda name, done, total: seen.append(done))
    assert seen == []


def test_an_error_of_the_server_is_waited_out(home, official, tmp_path):
    """500, 503 and 429 are asked again, after the time that the home asks for."""
    file = official("a.txt", b"one")
    home.acts["a.txt"] = [status(500), status(503), status(429, Retry_After="1")]
    start = time.monotonic()
    pull(tmp_path, file)
    assert time.monotonic() - start >= 1
    assert len(home.asked) == 4


def test_a_missing_file_is_an_error_at_once(home, official, tmp_path):
    """404 is not tried again; the message says where to put the file by hand."""
    file = official("a.txt", b"one")
    home.acts["a.txt"] = [status(404)]
    with pytest.raises(DataError, match=rf"HTTP 404.*{tmp_path}/a\.txt"):
        pull(tmp_path, file)
    assert len(home.asked) == 1


def test_a_dead_home_is_an_error_after_a_few_tries(home, official, tmp_path):
    """Nobody waits for ever: five tries without a byte end it."""
    file = official("a.txt", b"one")
    home.acts["a.txt"] = [serve(cut_after=0)] * 9
    with pytest.raises(DataError, match="after 5 tries"):
        pull(tmp_path, file)
    assert len(home.asked) == 5


def test_a_web_page_in_place_of_a_file_is_told(home, official, tmp_path):
    """A consent page is not taken for weights, even where no hash is known."""
    file = official("weights.bin", b"<html>agree first</html>", known=False, size=False)
    home.acts["weights.bin"] = [serve(kind="text/html")]
    with pytest.raises(DataError, match="web page"):
        pull(tmp_path, file)
    assert strangers(tmp_path) == set()


def test_one_bad_file_stops_no_other(home, official, tmp_path):
    """All files are tried; the failure is raised at the end and the others are here."""
    files = [official("a.txt", b"one"), official("b.txt", b"two"), official("c.txt", b"three")]
    home.acts["b.txt"] = [status(403)]
    with pytest.raises(DataError, match=r"b\.txt answers HTTP 403"):
        pull(tmp_path, *files)
    assert (tmp_path / "a.txt").read_bytes() + (tmp_path / "c.txt").read_bytes() == b"onethree"


def test_a_home_that_is_down_is_not_asked_for_everything(home, official, tmp_path):
    """After five files that failed the rest is left: nobody waits hours for a line that is down."""
    files = [official(f"{place}.txt", b"one") for place in range(200)]
    home.acts.update({file.name: [status(403)] for file in files})
    with pytest.raises(DataError, match="195 more files were not fetched"):
        pull(tmp_path, *files)
    assert len(home.asked) < 100


def test_progress_tells_bytes_and_size(home, official, tmp_path):
    """The watcher sees each file grow to its size."""
    seen = []
    pull(tmp_path, official("big.bin", BIG), watch=lambda *told: seen.append(told))
    assert seen[0] == ("big.bin", 0, len(BIG))
    assert seen[-1] == ("big.bin", len(BIG), len(BIG))


KILLED = """
import sys
from pathlib import Path
from silmm_benchmarks.data.files import DataFile
from silmm_benchmarks.data.official import OfficialData
name, url, sha256, size, folder = sys.argv[1:]
file = DataFile(name, url, sha256, int(size), "MIT")
OfficialData([file]).pull(Path(folder), lambda *told: None)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on_from_there(home, official, tmp_path, end):
    """A pull that is killed, or ended by Ctrl-C, leaves no final file; the next asks for the rest alone."""
    data = BIG * 4
    file = official("big.bin", data)
    home.acts["big.bin"] = [serve(pace=0.05)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, file.name, file.url, file.sha256, str(file.size), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "benchmarks")])},
        stderr=subprocess.DEVNULL,
    )
    parts = []
    while not any(path.stat().st_size > 1 << 18 for path in parts):
        assert process.poll() is None
        parts = [path for path in tmp_path.glob(".part-*") if not path.name.endswith(".etag")]
        time.sleep(0.01)
    process.send_signal(end)
    process.wait(timeout=60)
    assert not (tmp_path / "big.bin").exists()
    here = parts[0].stat().st_size
    assert 0 < here < len(data)
    pull(tmp_path, file)
    assert home.ranges()[-1] == f"bytes={here}-"
    assert (tmp_path / "big.bin").read_bytes() == data
    assert strangers(tmp_path, "big.bin") == set()


def test_killed_before_the_rename_it_needs_no_byte_more(home, official, tmp_path):
    """A partial file that is whole already becomes the file, known size or not."""
    for known in (True, False):
        file = official("a.bin", BIG, size=known)
        home.acts["a.bin"] = [serve(cut_after=len(BIG) - 1)] + [serve(cut_after=0)] * 4
        with pytest.raises(DataError, match="bytes are kept"):
            pull(tmp_path, file)
        (part,) = tmp_path.glob(".part-*")
        part.write_bytes(BIG)
        pull(tmp_path, file)
        assert (tmp_path / "a.bin").read_bytes() == BIG
        (tmp_path / "a.bin").unlink()


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "/etc/passwd", "a\\..\\b", "C:/a", "", "a//b", "./a", ".lock", "a\0b", "a/.b"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    """No catalogue entry can write outside its data folder or onto the folder's own records."""
    with pytest.raises(ValueError, match="not a plain relative path"):
        DataFile(name, "https://example.org/a", None, None, "MIT")


def test_only_the_web_is_a_home():
    """A catalogue entry cannot name a local file."""
    with pytest.raises(ValueError, match="not a web address"):
        DataFile("a", "file:///etc/passwd", None, None, "MIT")


def test_a_redirect_away_from_the_web_is_refused(home, official, tmp_path):
    """A home cannot lead a download to a local file."""
    file = official("a.txt", b"one")
    home.acts["a.txt"] = [status(302, Location="file:///etc/passwd")]
    with pytest.raises(DataError):
        pull(tmp_path, file)
    assert strangers(tmp_path) == set()


def test_a_redirect_on_the_web_is_followed(home, official, tmp_path):
    """Homes that answer with the address of a store (as the Hugging Face hub does) work."""
    file = official("a.txt", b"one")
    home.files["store"] = b"one"
    home.acts["a.txt"] = [status(302, Location=home.url("store"))]
    pull(tmp_path, file)
    assert (tmp_path / "a.txt").read_bytes() == b"one"
