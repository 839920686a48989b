"""Promises of checkpoint folders: local as they are, from the hub at their revision, JSON with clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm.checkpoint.folders import checkpoint_folder, read_json
from silmm.errors import DataError, UsageError


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative or in the home folder: the path comes back absolute, and a revision is refused."""
    (tmp_path / "it").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (str(tmp_path / "it"), "it", "~/it"):
        assert checkpoint_folder(path, ["*"]) == tmp_path / "it"
    with pytest.raises(DataError, match=r"it is a local folder, .*leave model\.revision out"):
        checkpoint_folder("it", ["*"], revision="main")


def test_a_revision_that_the_hub_does_not_give_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Id, revision, option and the hub's own reason stand in the message."""

    def refuse(*_: object, **__: object) -> str:
        raise OSError("404: no such revision")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(DataError, match=r"no folder 'org/it', .* at 'v1' \(404: no such revision\).*model\.judge"):
        checkpoint_folder("org/it", ["*"], option="judge", revision="v1")


def test_no_path_says_what_to_give() -> None:
    """An empty path names the model's option and what the folder holds."""
    with pytest.raises(UsageError, match=r"toy needs a checkpoint: --model toy:DIR .*model\.path=DIR.* its folder"):
        checkpoint_folder("", ["*"], owner="toy", expected="its folder")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "is not JSON"), ("[1]", "no JSON object"), (b"\xff", "is not JSON"), (None, "cannot be")],
)
def test_json_that_is_no_object_is_named(tmp_path: Path, text: str | bytes | None, problem: str) -> None:
    """The file stands in the message, with what was expected of it."""
    path = tmp_path / "config.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"config\.json .*{problem}.*expected the configuration"):
        read_json(path, "the configuration")


def test_json_that_may_be_missing(tmp_path: Path) -> None:
    """A file that is not required is an empty object where it is not there."""
    assert read_json(tmp_path / "none.json", required=False) == {}
    (tmp_path / "some.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "some.json", required=False) == {"a": 1}
