"""Start-up of `silmm`: quick and lazy, with errors and Ctrl-C as messages and exit codes."""

from __future__ import annotations

import time

import click
import pytest
from click.testing import CliRunner

import silmm_cli
from silmm.errors import DataError
from silmm_cli import COMMANDS, main

HEAVY = (
    *("numpy", "torch", "transformers", "peft", "accelerate", "spacy", "datasets"),
    "silmm_benchmarks.shapes.exact_judge",
)
TELL = """
import sys
from silmm_cli import main
try:
    main({arguments!r}, prog_name="silmm")
except SystemExit as stop:
    loaded = [name for name in {heavy!r} if name in sys.modules]
    print("exit", stop.code, "loaded", loaded)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins"], ["plugins", "show", "trainer", "dpo"]]
)
def test_light_commands_import_nothing_heavy(silmm_process, fake_distribution, arguments):
    """Help, version and the list of the built-in plugins import neither torch and its kin nor the judge."""
    site = fake_distribution("copy", {"a": "silmm_plugins", "b": "silmm_benchmarks.plugin"})
    script = TELL.format(arguments=arguments, heavy=HEAVY)
    done = silmm_process("-c", script, site=site, env={"SILMM_LOAD_PLUGINS": "copy"})
    assert done.stdout.splitlines()[-1] == "exit 0 loaded []", done.stdout + done.stderr


def test_the_core_imports_nothing_heavy(silmm_process):
    """`import silmm` loads neither torch nor numpy nor pydantic."""
    names = (*HEAVY, "pydantic")
    script = f"import silmm, sys; print([name for name in {names!r} if name in sys.modules])"
    assert silmm_process("-c", script).stdout == "[]\n"


def test_help_is_quick(silmm_process):
    """`silmm --help` takes no more than four times what Python with click alone takes to start."""
    seconds = {"help": [], "click": []}
    for _ in range(3):
        for name, arguments in (("help", ("-m", "silmm_cli", "--help")), ("click", ("-c", "import click"))):
            start = time.perf_counter()
            assert silmm_process(*arguments).returncode == 0
            seconds[name].append(time.perf_counter() - start)
    assert min(seconds["help"]) <= 4 * min(seconds["click"])


def test_every_listed_command_exists():
    """Each name of the help leads to a click command whose own help works."""
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, name


@pytest.fixture
def fail_with(monkeypatch):
    """Put a command `fail` beside the built-in ones that raises what it is told to."""

    def run(error):
        @click.command()
        def fail():
            raise error

        monkeypatch.setattr(main, "_extra", {"fail": fail})
        return CliRunner().invoke(main, ["fail"])

    return run


def test_an_error_is_one_message_and_its_exit_code(fail_with, monkeypatch):
    """A silmm error goes to stderr without a traceback; SILMM_DEBUG=1 lets it through."""
    monkeypatch.delenv("SILMM_DEBUG", raising=False)
    result = fail_with(DataError("shard 3 is torn"))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "error: shard 3 is torn\n"
    monkeypatch.setenv("SILMM_DEBUG", "1")
    assert isinstance(fail_with(DataError("x")).exception, DataError)


def test_ctrl_c_exits_130_and_says_that_the_run_goes_on(fail_with):
    """An interrupted command ends with 130 and a line that it can be resumed."""
    result = fail_with(KeyboardInterrupt())
    assert result.exit_code == silmm_cli.INTERRUPTED == 130
    assert "same command resumes" in result.stderr


def test_plugins_cannot_replace_built_in_commands(monkeypatch):
    """A plugin's command called `plugins` is never reached."""
    monkeypatch.setattr(main, "_extra", {"plugins": click.Command("plugins", help="False one.")})
    assert "False one." not in CliRunner().invoke(main, ["--help"]).output
    assert main.get_command(click.Context(main), "plugins").help != "False one."
