"""Files come whole and verified from a home that cuts, refuses, lies and vanishes, or they do not come."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import httpx
import pytest
from silmm_benchmarks.data.data_file import DataFile, Limits
from silmm_benchmarks.data.official_data import OfficialData
from silmm_benchmarks.data.web_requests import web_client

from silmm.errors import DataError, OutOfSpace
from tests.benchmarks.data.home import serve, status
from tests.conftest import REPOSITORY

BIG = bytes(range(256)) * 4096
FAST = 0.01


def pull(folder, *files, watch=lambda name, done, total: None, **limits):
    return OfficialData(files, limits=Limits(first_pause=FAST, **limits)).pull(folder, watch)


def states(reports):
    return [report.state for report in reports]


def strangers(folder, *names):
    """Everything in a folder but the named files and the lock."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return paths - {*names, ".lock"}


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


@pytest.mark.parametrize("with_digest", [True, False])
def test_a_changed_version_is_never_mixed_with_the_old_bytes(home, official, tmp_path, with_digest):
    """When the home's file changes between two requests, the result is one version, not a mixture."""
    old, new = BIG, BIG[::-1]
    official("big.bin", old)
    home.tags["big.bin"] = '"old"'

    def change(answer):
        official("big.bin", new)
        home.tags["big.bin"] = '"new"'
        serve()(answer)

    home.acts["big.bin"] = [serve(cut_after=300_000), change]
    file = replace(official("big.bin", old), sha256=hashlib.sha256(new).hexdigest() if with_digest else None)
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
    calls = []
    with pytest.raises(DataError, match="has 1048576 bytes, not the expected 17"):
        pull(tmp_path, file, watch=lambda name, done, total: calls.append(done))
    assert calls == []


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
    files = [official(f"{index}.txt", b"one") for index in range(200)]
    home.acts.update({file.name: [status(403)] for file in files})
    with pytest.raises(DataError, match="195 more files were not fetched"):
        pull(tmp_path, *files)
    assert len(home.asked) < 100


def test_progress_tells_bytes_and_size(home, official, tmp_path):
    """The watcher sees each file grow to its size."""
    progress = []
    pull(tmp_path, official("big.bin", BIG), watch=lambda *messages: progress.append(messages))
    assert progress[0] == ("big.bin", 0, len(BIG))
    assert progress[-1] == ("big.bin", len(BIG), len(BIG))


KILLED = """
import sys
from pathlib import Path
from silmm_benchmarks.data.data_file import DataFile
from silmm_benchmarks.data.official_data import OfficialData
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
    for digest in (True, False):
        file = official("a.bin", BIG, size=digest)
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


@pytest.mark.parametrize(("url", "location", "refused"), [
    ("https://a.org/x", "http://a.org/x", True), ("https://a.org/x", "http://b.org/x", True),
    ("https://a.org/x", "/y", False), ("https://a.org/x", "https://b.org/x", False),
    ("http://a.org/x", "https://b.org/x", False), ("http://a.org/x", "http://b.org/x", False),
    ("http://a.org/x", "ftp://b.org/x", True),
])
def test_no_redirect_leads_away_from_https(url, location, refused):
    """An https address never continues over http, nor any address over another scheme."""

    def handle(request):
        if str(request.url) == url:
            return httpx.Response(302, headers={"Location": location}, request=request)
        return httpx.Response(200, request=request)

    with web_client() as client:
        client._transport, client._mounts = httpx.MockTransport(handle), {}
        if refused:
            with pytest.raises(DataError, match="away from https"):
                client.get(url)
        else:
            assert client.get(url).status_code == 200


def test_a_server_that_trickles_is_given_up(home, official, tmp_path):
    """A line that brings too few bytes for too long ends the download; the bytes so far stay."""
    file = official("big.bin", BIG)
    home.acts["big.bin"] = [serve(pace=0.2)]
    with pytest.raises(DataError, match=r"fewer than 1000000 bytes in 0\.5 seconds.*bytes are kept"):
        pull(tmp_path, file, patience=0.5, progress=1_000_000)
    assert any(0 < path.stat().st_size < len(BIG) for path in tmp_path.glob(".part-*"))


def test_pauses_between_tries_count_as_time_without_progress(home, official, tmp_path):
    """A server that asks to wait again and again is not waited for beyond the patience."""
    file = official("a.txt", b"one")
    home.acts["a.txt"] = [status(503, Retry_After="1")] * 9
    with pytest.raises(DataError, match=r"fewer than 65536 bytes in 0\.5 seconds"):
        pull(tmp_path, file, patience=0.5)
    assert len(home.asked) == 1


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_large_is_refused(home, official, tmp_path, length):
    """Without a published size the largest allowed one holds, whether the server states a length or not."""
    file = official("big.bin", BIG, known=False, size=False)
    home.acts["big.bin"] = [serve(length=length)]
    with pytest.raises(DataError, match="300000"):
        pull(tmp_path, file, largest=300_000)
    assert strangers(tmp_path) == set()


def test_a_full_disk_is_seen_before_the_bytes_come(home, official, tmp_path, monkeypatch):
    """A file that is larger than the free space is not begun."""
    file = official("big.bin", BIG)
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("silmm_benchmarks.data.download.shutil.disk_usage", lambda path: free)
    with pytest.raises(OutOfSpace, match=r"big\.bin needs 0\.0 GB more"):
        pull(tmp_path, file)
    assert strangers(tmp_path) == set()


HUB = """
import sys
from pathlib import Path
from silmm_benchmarks.data.data_file import DataFile
from silmm_benchmarks.data.official_data import OfficialData
file = DataFile("w.bin", "https://huggingface.co/o/m/resolve/main/w.bin", None, None, "MIT")
print([report.state for report in OfficialData([file]).pull(Path(sys.argv[1]), lambda *progress: None)])
"""
HUB_PATH = "o/m/resolve/main/w.bin"


def pull_from_hub(home, folder, **environ):
    """Pull a file of the hub in a process whose hub is the test's server."""
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "benchmarks")])
    environ = {"HF_ENDPOINT": home.address, "HF_HOME": str(folder / "hf"), "PYTHONPATH": paths, **environ}
    return subprocess.run(
        [sys.executable, "-c", HUB, str(folder / "data")], env=os.environ | environ, capture_output=True, text=True,
        check=False,
    )


def test_a_file_of_the_hub_comes_from_its_mirror_with_the_token_and_its_published_hash(home, tmp_path):
    """HF_ENDPOINT and HF_TOKEN are obeyed, and bytes that do not have the hub's SHA-256 are refused."""
    home.files[HUB_PATH], home.tags[HUB_PATH] = BIG, f'"{hashlib.sha256(BIG).hexdigest()}"'
    done = pull_from_hub(home, tmp_path, HF_TOKEN="hf_secret")  # noqa: S106 - made up
    assert done.stdout == "['recorded']\n", done.stderr
    assert (tmp_path / "data/w.bin").read_bytes() == BIG
    tokens = {name: headers.get("Authorization", headers.get("authorization")) for name, headers in home.asked}
    assert tokens.items() >= {f"HEAD {HUB_PATH}": "Bearer hf_secret", HUB_PATH: "Bearer hf_secret"}.items()
    home.tags[HUB_PATH] = f'"{"0" * 64}"'
    refused = pull_from_hub(home, tmp_path / "other")
    assert "not the expected 000000" in refused.stderr
    assert not (tmp_path / "other/data/w.bin").exists()


def test_a_file_in_the_cache_of_the_hub_is_not_fetched_again(home, tmp_path):
    """A copy with the published hash in the hub's own cache is taken; one with other bytes is not."""
    home.files[HUB_PATH], home.tags[HUB_PATH] = BIG, f'"{hashlib.sha256(BIG).hexdigest()}"'
    cached = tmp_path / "hf/hub/models--o--m/snapshots/main/w.bin"
    cached.parent.mkdir(parents=True)
    for content, requests in ((BIG, 0), (b"other", 1)):
        cached.write_bytes(content)
        home.asked.clear()
        assert pull_from_hub(home, tmp_path).returncode == 0
        assert (tmp_path / "data/w.bin").read_bytes() == BIG
        assert [name for name, _ in home.asked].count(HUB_PATH) == requests
        shutil.rmtree(tmp_path / "data")


def test_a_redirect_on_the_web_is_followed(home, official, tmp_path):
    """Homes that answer with the address of a store (as the Hugging Face hub does) work."""
    file = official("a.txt", b"one")
    home.files["store"] = b"one"
    home.acts["a.txt"] = [status(302, Location=home.url("store"))]
    pull(tmp_path, file)
    assert (tmp_path / "a.txt").read_bytes() == b"one"
