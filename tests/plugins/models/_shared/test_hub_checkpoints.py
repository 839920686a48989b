"""Every adapter takes a repository of the hub at its revision, and finds companions beside a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from silmm.contracts.options import checkpoint_options
from tests.plugins.models.every_model import ADAPTERS, EveryModel

OTHERS = {"seed-llama": "AILab-CVC/seed-tokenizer-2", "emu3": "org/Emu3-Chat"}
"""Model to the repository that it takes by itself when `path` is a hub id."""


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_revision_of_a_hub_id_is_what_is_fetched(
    every_model: EveryModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every adapter fetches its id at the revision, other repositories at their main branch, and loads it."""
    path = Path(every_model.paths[name]["path"])
    options = {}
    paths = {"org/it": path}
    if name == "emu3":
        paths = {"org/it": path / "Emu3-Gen", "org/Emu3-Chat": path / "Emu3-Chat"}
        options = {"vision": str(path / "Emu3-VisionTokenizer")}
    if name == "seed-llama":
        paths[OTHERS[name]] = path / "seed-tokenizer-2"
    fetched = []

    def fetch(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        fetched.append((repository, revision))
        assert allow_patterns
        return str(paths[repository])

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    model = every_model.load(name, path="org/it", revision="v1", **options)
    assert fetched == [("org/it", "v1"), *((item, None) for item in [OTHERS.get(name)] if item)]
    expected = every_model.load(name).backbone.state_dict()
    actual = model.backbone.state_dict()
    assert expected.keys() == actual.keys()
    assert all(bool((actual[key] == weight).all()) for key, weight in expected.items())
    mark = checkpoint_options(every_model.registry.entry("model", name).options)["path"]
    assert mark.revision == "revision"


def test_beside_a_folder_that_is_named_by_a_dot(
    every_model: EveryModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From within its folder seed-llama finds what lies beside it, and goes by the folder's own name."""
    recorded = Path(every_model.paths["seed-llama"]["path"])
    home = tmp_path / "seed-llama-8b-pretrain"
    shutil.copytree(recorded / "seed-llama-8b-sft", home)
    for part in ("seed-tokenizer-2", "companions"):
        (tmp_path / part).symlink_to(recorded / part)
    monkeypatch.chdir(home)
    model = every_model.load("seed-llama", path=".")
    assert model.probe()["template"] == "pretrain"  # type: ignore[attr-defined]
