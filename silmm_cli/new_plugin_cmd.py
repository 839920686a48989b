"""`silmm new-plugin`: writes a complete package with a model, a sampler, a distance and their tests."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from silmm.errors import UsageError
from silmm_cli.console import say

TEMPLATE = Path(__file__).parent / "plugin_template"
SUFFIX = ".tmpl"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "silmm-"


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the package; by default NAME in the current folder."
)
def new_plugin(*, name: str, out: Path | None) -> None:
    """Write a plugin package NAME to start from.

    It contains a base model, a sampler, half of a kernel, an entry point and tests by the conformance kit, and works
    without changes.
    """
    from silmm.storage.atomic_files import atomic_folder  # imported late: it needs pyarrow

    files = dict(package(name))
    folder = out or Path(name)
    if folder.exists():
        raise UsageError(f"{folder} exists already; give another NAME or --out")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as staging:
        for path, text in files.items():
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            (staging / path).write_text(text, encoding="utf-8")
    for path in files:
        say(f"wrote {folder / path}")
    say(f'next: pip install -e "{folder}[dev]" && pytest {folder}')


def package(name: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a package, relative path and text.

    Raises:
        UsageError: the name cannot be that of a distribution and a module.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise UsageError(
            f"{name!r} is not a package name: use lower-case letters and digits, words joined by '-', for example "
            "silmm-cats"
        )
    if module in ("silmm", "silmm_cli", "silmm_plugins", "silmm_benchmarks") or _foreign(module):
        raise UsageError(f"a module called {module!r} is installed already; choose another name")
    words = {
        "@DISTRIBUTION@": name,
        "@MODULE@": module,
        "@NAME@": name.removeprefix(_PREFIX),
    }
    for source in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        path = source.relative_to(TEMPLATE).as_posix().removesuffix(SUFFIX).replace("MODULE", module)
        text = source.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        yield path, text


def _foreign(module: str) -> bool:
    """Return whether another package than a plugin of silmm, such as torch, has a module of this name."""
    return not module.startswith("silmm_") and find_spec(module) is not None
