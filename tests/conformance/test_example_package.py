"""The example package is complete: what `silmm new-plugin` writes installs, passes the kit and runs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from silmm_cli import main
from silmm_cli.new_plugin_cmd import package

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "silmm-plugin-example"
NAME = "silmm-plugin-example"
LIMIT_S = 580


def new_plugin(*arguments):
    return CliRunner().invoke(main, ["new-plugin", *map(str, arguments)])


def test_the_example_is_what_new_plugin_writes(tmp_path):
    """The folder in the repository and the command's output are the same files, byte for byte."""
    result = new_plugin(NAME, "--out", tmp_path / "made")
    assert result.exit_code == 0, result.output
    made = {path.relative_to(tmp_path / "made"): path for path in (tmp_path / "made").rglob("*.*")}
    made = {name: path.read_bytes() for name, path in made.items() if path.is_file()}
    assert len(made) == 8
    assert {name: (EXAMPLE / name).read_bytes() for name in made} == made


def test_another_name_goes_everywhere(tmp_path, monkeypatch):
    """`silmm new-plugin NAME` leaves no word of the template, and never changes an existing folder."""
    monkeypatch.chdir(tmp_path)
    result = new_plugin("silmm-two-cats")
    assert result.exit_code == 0, result.output
    assert "pip install" in result.stderr
    for path in Path("silmm-two-cats").rglob("*.*"):
        text = path.read_text() if path.is_file() else ""
        assert "@" not in text.replace("@hookimpl", "").replace("@pytest", "").replace("@torch", ""), path
        if path.suffix == ".py":
            ast.parse(text)
    assert Path("silmm-two-cats/silmm_two_cats/model.py").is_file()
    assert '"two-cats-model"' in Path("silmm-two-cats/silmm_two_cats/__init__.py").read_text()
    again = new_plugin("silmm-two-cats")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    "name", ["Cats", "../cats", "silmm_cats", "-x", "a--b", "9lives", "class", "torch", "silmm"]
)
def test_a_name_that_cannot_be_a_package_is_refused(name, tmp_path, monkeypatch):
    """A name that is no valid distribution and module, or that exists, is refused before anything is written."""
    monkeypatch.chdir(tmp_path)
    result = new_plugin("--", name)
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install the example by pip, without network, into a folder of its own."""
    home = tmp_path_factory.mktemp("example")
    for path, text in package(NAME):
        (home / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (home / "source" / path).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
         "--no-deps", "--no-build-isolation", "--target", str(home / "site"), str(home / "source")],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )
    assert done.returncode == 0, done.stderr
    return home / "site"


def run(site, *arguments, cwd):
    paths = [site, ROOT, ROOT / "plugins", ROOT / "benchmarks"]
    changes = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S,
        check=False, env=os.environ | changes,
    )


def test_the_installed_package_is_listed(site, tmp_path):
    """The installed package is listed with its three components and its distribution, and nothing is broken."""
    done = run(site, "-m", "silmm_cli", "plugins", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    own = {(c["kind"], c["name"]) for c in listed["components"] if c["distribution"] == NAME}
    assert own == {
        ("model", "plugin-example-model"), ("sampler", "plugin-example-spread"),
        ("distance", "plugin-example-l1"),
    }
    kernels = {c["name"] for c in listed["components"] if c["kind"] == "kernel"}
    assert "avgpool-plugin-example-l1" in kernels
    assert listed["broken"] == []


@pytest.mark.slow
def test_its_own_tests_pass(site, tmp_path):
    """The package's tests, the conformance kit among them, pass on the installed package."""
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests", "-W", "error",
               "--rootdir", tmp_path, "-c", os.devnull, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "3 skipped" in done.stdout  # features, chat twice: not declared


@pytest.mark.slow
def test_its_model_and_sampler_go_through_a_whole_iteration(site, tmp_path):
    """`silmm run` with its model and sampler trains an adapter; `silmm probe` finds nothing wrong."""
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\nthree dogs\n")
    probe = run(site, "-m", "silmm_cli", "probe", "plugin-example-model", "--json", cwd=tmp_path)
    assert probe.returncode == 0, probe.stdout + probe.stderr
    done = run(
        site, "-m", "silmm_cli", "run", "--model", "plugin-example-model",
        "--sampler", "plugin-example-spread", "--questioner", "prompt-q", "--prompts", "prompts.txt",
        "--images-per-prompt", "4", "--set", "trainer.max_steps=3", "--set", "trainer.warmup_steps=1",
        "--run-dir", "run", "--json", cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    adapter = Path(json.loads(done.stdout)["adapter"])
    assert (tmp_path / adapter / "adapter_model.safetensors").is_file()
