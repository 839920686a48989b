"""The documentation is true: its links, hooks, code and references."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import click
import pytest

import silmm
import silmm.engine.run
from silmm.contracts import hookspecs
from silmm.contracts.models import Capability
from silmm.contracts.registration import Need
from silmm.engine import capabilities
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.discovery import HOOKS
from silmm.registry.registry import KIND_OF_HOOK, Registry
from silmm_cli import main
from tests.toy import plugin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
FIDELITY = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def arguments(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


# ------------------------------------------------------------------------------------------- links


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {text.strip().replace(" ", "-") for text in words}


def links() -> Iterator[tuple[Path, str]]:
    """Yield each page with each of its relative links and images."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


def test_every_relative_link_leads_somewhere() -> None:
    """Each link of each page names a file of this repository, and a heading where it says so."""
    assert len(list(links())) > 10
    assert [f"{page.name}: {target}" for page, target in links() if broken(page, target)] == []


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    """The check above knows a missing file and a missing heading."""
    page = ROOT / "docs" / "plugins.md"
    assert broken(page, "no-such-page.md")
    assert broken(page, "concepts.md#no-such-heading")
    assert not broken(page, "concepts.md#the-loop")


def test_every_file_that_contributing_names_exists() -> None:
    """Every file that CONTRIBUTING.md names exists."""
    text = FENCE.sub("", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    named = {name for name in re.findall(r"`([\w./]+/[\w./]*)`", text) if "venv" not in name}
    assert len(named) > 20
    assert [name for name in sorted(named - {"dist/"}) if not (ROOT / name).exists()] == []


# ------------------------------------------------------------------------------------ plugin guide


def test_every_hook_is_documented_with_its_arguments() -> None:
    """The guide lists exactly the hooks of the specification, with their arguments."""
    documented = dict(re.findall(r"^\| `(silmm_\w+)\(([^)]*)\)`", GUIDE, re.MULTILINE))
    assert {name: split(text) for name, text in documented.items()} == {
        name: arguments(getattr(hookspecs, name)) for name in HOOKS
    }


def test_no_hook_is_spelt_otherwise_anywhere() -> None:
    """No page names a hook that does not exist."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert set(re.findall(r"\bsilmm_(?:register_\w+|\w+_(?:started|finished|step))\b", text)) <= {
        *HOOKS
    }


def test_the_kinds_of_the_guide_are_the_registrys() -> None:
    """Each registration hook stands beside the word that the command line has for its kind."""
    documented = re.findall(r"^\| `(silmm_register_\w+)\(register\)` \| `([\w-]+)`", GUIDE, re.MULTILINE)
    assert dict(documented) == dict(KIND_OF_HOOK)


def test_the_contracts_of_the_guide_are_the_interfaces() -> None:
    """Every method that the guide tells an author to write has these arguments."""
    documented = re.findall(r"`([A-Z]\w+)\.(\w+)\(([^)]*)\)`", GUIDE)
    assert {owner for owner, _, _ in documented} == {
        *("BaseModel", "Prompter", "Sampler", "Questioner", "Scorer", "PairRule", "Generator"),
        *("Aggregation", "Distance", "Trainer", "Benchmark"),
    }
    for owner, method, text in documented:
        assert split(text) == arguments(getattr(getattr(silmm, owner), method)), owner
    assert {method for owner, method, _ in documented if owner == "Benchmark"} == silmm.Benchmark.__abstractmethods__


def test_the_guide_lists_all_capabilities_and_needs() -> None:
    """What a registration may require and need is what the guide says."""
    capabilities_listed = GUIDE.split("**Capabilities** are ")[1].split(". ")[0]
    assert set(re.findall(r"`(\w+)`", capabilities_listed)) == set(get_args(Capability))
    assert set(re.findall(r'^\| `"(\w+)"` \|', GUIDE, re.MULTILINE)) == set(get_args(Need))


def test_every_name_of_silmm_on_a_page_exists() -> None:
    """`silmm.NAME` is part of the public face, a module, or something in a module."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    names = set(re.findall(r"(?<![\w/-])silmm\.[A-Za-z][\w.]*\w", text))
    assert len(names) > 30
    assert [name for name in sorted(names) if not _resolves(name)] == []


def _resolves(name: str) -> bool:
    parts = name.split(".")
    value: Any = silmm
    for position, part in enumerate(parts[1:], start=2):
        if not hasattr(value, part):
            try:
                importlib.import_module(".".join(parts[:position]))
            except ImportError:
                return False
        value = getattr(value, part, None)
    return True


def test_the_guide_knows_all_arguments_of_register() -> None:
    """The signature and the table of `register` name what the callback takes, in full."""
    from silmm.contracts.registration import Register

    names = arguments(Register.__call__)
    signature = re.search(r"^register\((.*?)\)$", GUIDE, re.MULTILINE | re.DOTALL)
    assert signature is not None
    assert set(re.findall(r"(\w+)(?:=|,|$)", signature[1].replace(" ", ""))) >= set(names)
    matches = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", GUIDE.split("## Registering")[1], re.MULTILINE)
    assert set(names) <= {name for cell in matches for name in re.findall(r"\w+", cell)}


def package() -> dict[str, str]:
    """Return the files of the guide's package by name."""
    matches = re.findall(r"<!-- package: (\S+) -->\n```\w+\n(.*?)^```$", GUIDE, re.M | re.S)
    return dict(matches)


@pytest.fixture
def guide_package(fake_distribution: Callable[..., Path]) -> Path:
    """Install the guide's package as its own project file says, and return the folder."""
    files = package()
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    points = project["entry-points"]["silmm"]
    modules = {name.removesuffix(".py"): source for name, source in files.items()}
    assert set(points.values()) == set(modules)
    return fake_distribution(project["name"], points, modules, project["version"])


def test_the_guides_package_works_in_a_real_run(
    guide_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide's package, copied and installed, samples and scores a whole run."""
    plugin.install(guide_package)
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-weakest,silmm-toy")
    registry = Registry.load()
    assert registry.broken == ()
    assert registry.entry("sampler", "cold-warm").distribution == "silmm-weakest"
    toys = dict.fromkeys(
        ("model", "prompter", "questioner", "pair_rule", "trainer", "benchmark"), "toy"
    )
    sizes = {"prompts": 4, "images_per_prompt": 4, "shard_size": 2}
    settings = resolve_settings(
        registry,
        flags={**toys, **sizes, "sampler": "cold-warm", "scorer": "weakest"},
        sets=["sampler.warm=1.5"],
    )
    capabilities.check(registry, settings)
    result = silmm.engine.run.start(settings, tmp_path / "run", registry=registry)
    assert settings.options["sampler"] == {"cold": 0.7, "warm": 1.5}
    assert result.summary is not None
    assert result.summary["counts"]["1"]["scores"]["rows"] == 16


def test_the_guides_sampler_keeps_order_and_company(guide_package: Path) -> None:
    """The guide's sampler gives each candidate the temperature of its seed, in input order."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm-weakest"})
    sampler = registry.build("sampler", "cold-warm", {"cold": 0.5, "warm": 2.0})

    class Echo:
        def represent(self, prompts: Any, seeds: Any, sampling: Any) -> list[Any]:
            return [(p, s, sampling.temperature) for p, s in zip(prompts, seeds, strict=True)]

    sampled = sampler.sample(Echo(), ["a", "b", "c"], [3, 4, 7])
    assert [item.latent for item in sampled] == [("a", 3, 2.0), ("b", 4, 0.5), ("c", 7, 2.0)]
    assert [item.meta for item in sampled] == [{"temperature": temperature} for temperature in (2.0, 0.5, 2.0)]


@pytest.fixture(autouse=True)
def _forget_toy() -> Iterator[None]:
    """Let no module of a deleted folder stay imported."""
    yield
    sys.modules.pop("silmm_toy", None)


# -------------------------------------------------------------------------------------- generated


def test_the_command_line_page_is_fresh(silmm_process: Callable[..., Any]) -> None:
    """docs/cli.md is what its generator writes, but for line breaks of help texts."""
    program = "from generate_cli import generate; print(generate())"
    made = silmm_process("-c", program, site=ROOT / "docs")
    assert made.returncode == 0, made.stderr
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page.split() == made.stdout.split(), "run: python docs/generate_cli.py"


# ---------------------------------------------------------------------------------------- fidelity


def defined(source: Path) -> set[str]:
    """Return the names of a module's functions, methods and variables, without importing it."""
    names: set[str] = set()
    for node in ast.parse(source.read_text("utf-8")).body:
        names |= _names(node, "")
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                names |= _names(inner, f"{node.name}.")
    return names


def _names(node: ast.stmt, owner: str) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {owner + node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {owner + target.id for target in targets if isinstance(target, ast.Name)}


def source_of(module: str) -> Path | None:
    path = Path(*module.split("."))
    paths = [top / path for top in (ROOT, ROOT / "plugins", ROOT / "benchmarks")]
    candidates = [file for p in paths for file in (p.with_suffix(".py"), p / "__init__.py")]
    return next((file for file in candidates if file.is_file()), None)


def exists(reference: str) -> bool:
    """Say whether `module:name` or `tests/file.py::test` is there."""
    if "::" in reference:
        path, _, name = reference.partition("::")
        return (ROOT / path).is_file() and name in defined(ROOT / path)
    module, _, name = reference.partition(":")
    source = source_of(module)
    return source is not None and name in defined(source)


def references(text: str) -> list[str]:
    tests = re.findall(r"`(tests/[\w/]+\.py::\w+)`", text)
    return tests + re.findall(r"`(silmm\w*(?:\.\w+)*:[\w.]+)`", text)


def test_every_function_and_test_of_the_fidelity_table_exists() -> None:
    """Every function and test of the fidelity table exists."""
    named = references(FIDELITY)
    assert len(named) > 60
    assert [reference for reference in named if not exists(reference)] == []


def test_a_reference_that_has_gone_is_noticed() -> None:
    """The check above knows a missing module, name, method and test."""
    assert not exists("silmm.nowhere:improve")
    assert not exists("silmm.engine.loop:worsen")
    assert not exists("silmm_plugins.scoring.scorers:RandomScore.guess")
    assert not exists("tests/engine/test_loop.py::test_nothing")
    assert exists("silmm_plugins.scoring.scorers:RandomScore.score")


def test_every_row_that_names_code_names_a_test() -> None:
    """Every row of the fidelity table that names code names a test."""
    table = FIDELITY.split("## The results")[0]
    rows = [line for line in table.splitlines() if re.search(r"`silmm\w*(\.\w+)*:", line)]
    assert len(rows) > 25
    assert [row for row in rows if "`tests/" not in row] == []


def test_run_defaults_are_the_papers() -> None:
    """`silmm run` defaults to the paper's 16,000 prompts, 10 images per prompt and components (App. 10)."""
    fields = RunSettings.model_fields
    assert (fields["prompts"].default, fields["images_per_prompt"].default) == (16000, 10)
    components = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
    assert [fields[name].default for name in components] == [
        "self", "nucleus", "self-q", "diff-of-prob", "top-last", "dpo",
    ]


def test_the_embedded_model_deviates_as_told() -> None:
    """The embedded model's presets deviate from the paper as the fidelity page says."""
    defaults: dict[str, Any] = dict(Registry.load().entry("model", "tiny-discrete").defaults)
    assert defaults["prompts"] < 16000
    assert defaults["trainer/dpo.max_steps"] < 1000
    assert defaults["trainer/dpo.learning_rate"] > 5e-5
    assert defaults["pair-rule/top-last.k"] > 1
    assert defaults["trainer/dpo.nll_weight"] > 0


def test_no_distribution_holds_the_goldens() -> None:
    """Neither wheel nor source distribution holds the recorded outputs of official code."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert "/tests/goldens" in build["sdist"]["exclude"]
    assert all(package.rpartition("/")[2].startswith("silmm") for package in build["wheel"]["packages"])


def test_one_version_everywhere() -> None:
    """The package, its project file and the changelog's first section agree on the version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sections = re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)
    assert project["version"] == silmm.__version__
    assert silmm.__version__ in sections[:2]


# ------------------------------------------------------------------------------------------ readme


SHELL = "".join(re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S))


@pytest.mark.parametrize("line", re.findall(r"^silmm .*", SHELL, re.M))
def test_the_readmes_commands_are_understood(line, tmp_path, monkeypatch):
    """Each `silmm …` line of the README has a command, options and values that exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/NAME").mkdir(parents=True)
    (tmp_path / "DIR").mkdir()
    (tmp_path / "DIR/config.json").write_text("{}")
    name, *arguments = shlex.split(line.partition(">")[0], comments=True)[1:]
    command = main.get_command(click.Context(main), name)
    context = command.make_context(name, arguments)
    if name == "run":
        flags = {key: value for key, value in context.params.items() if key in RunSettings.model_fields}
        files = {key: None for key, value in flags.items() if str(value).startswith("my-")}
        resolve_settings(Registry.load(), flags=flags | files, sets=context.params["sets"])


def test_the_readmes_library_example_works(tmp_path, monkeypatch):
    """The Python block runs; its run is resolved and not done, and its benchmark takes a few prompts."""
    example = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "silmm.run(" in block)
    bench = silmm.bench

    def run(sets: Any, **settings: Any) -> Any:
        resolved = resolve_settings(Registry.load(), flags=settings, sets=sets)
        assert resolved.options["trainer"]["max_steps"] == 20
        return SimpleNamespace(adapters={"1": None})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(silmm, "run", run)
    monkeypatch.setattr(silmm, "bench", lambda *names, **options: bench(*names, **options, limit=1))
    scope: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), scope)  # noqa: S102 - our own page
    assert [answers.shape for answers in scope["answers"]] == [(1, 2), (1, 2)]
    assert len(scope["scores"]) == 1
