"""The `silmm` command: a click group that imports a command only when it is used."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

import silmm
from silmm.errors import SilmmError
from silmm.suggestions import did_you_mean
from silmm_cli.console import say

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "run": ("silmm_cli.run_cmd:run", "Align a model by its own judgement, and measure it."),
    "reproduce": ("silmm_cli.reproduce_cmd:reproduce", "Reproduce a table or figure of the paper."),
    "report": ("silmm_cli.run_cmd:report", "Write the report of a run."),
    "bench": ("silmm_cli.bench_cmd:bench", "Score images on benchmarks, and compare results."),
    "leaderboard": ("silmm_cli.leaderboard_cmd:leaderboard", "Rank results beside the paper's."),
    "data": ("silmm_cli.data_cmd:data", "Fetch official files of benchmarks and weights of judges."),
    "plugins": ("silmm_cli.plugins_cmd:plugins", "List the installed components, or show one."),
    "probe": ("silmm_cli.probe_cmd:probe", "Check the files of a base model or a judge, and that it works."),
    "new-plugin": ("silmm_cli.new_plugin_cmd:new_plugin", "Write a plugin package to start from."),
    "doctor": ("silmm_cli.doctor:doctor", "Check this installation and report what is missing."),
})
"""Name of a command -> its place and its line in the help, so that the help imports nothing."""
DEBUG_VARIABLE = "SILMM_DEBUG"
INTERRUPTED = 130
"""Exit code after Ctrl-C (128 + SIGINT)."""


class LazyGroup(click.Group):
    """A group that has its commands by name and imports one when it is used.

    Commands of plugins (`silmm_register_commands`) are loaded for the help and for names that are not built in; they
    cannot replace a built-in command.
    """

    _extra: dict[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the built-in names, then those of plugins."""
        del ctx
        return [*COMMANDS, *sorted(set(self._of_plugins()) - set(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS:
            return self._of_plugins().get(cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of `args`; the error about an unknown name suggests the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(error.message.rstrip(".") + near, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing the built-in ones."""
        extra = self._of_plugins()
        rows = [
            (name, COMMANDS[name][1] if name in COMMANDS else extra[name].get_short_help_str(90))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # click's own signature
        """Run the command; a silmm error becomes one message and its exit code."""
        try:
            return super().invoke(ctx)
        except SilmmError as error:
            if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
                raise
            say(f"error: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            say("interrupted; finished work is kept, and the same command resumes it")
            ctx.exit(INTERRUPTED)

    def _of_plugins(self) -> dict[str, click.Command]:
        if self._extra is None:
            self._extra = _plugin_commands()
        return self._extra


def _plugin_commands() -> dict[str, click.Command]:
    """Collect the commands of all plugins except silmm's own, whose commands are in COMMANDS."""
    from silmm.registry import discovery  # imported late: built-in commands need no plugin for their names

    collected = click.Group()
    try:
        loaded = discovery.load(skip=("silmm",))
    except SilmmError as error:
        say(f"warning: no commands of plugins: {error}")
        return {}
    for broken in loaded.broken:
        say(f"warning: plugin {broken.origin} is broken: {broken.reason} (see `silmm plugins`)")
    for implementation in reversed(loaded.manager.hook.silmm_register_commands.get_hookimpls()):
        try:
            implementation.function(collected)
        except Exception as error:
            say(f"warning: no commands of plugin {implementation.plugin_name}: {error!r}")
    return dict(collected.commands)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or changed settings, 3 plugin, 4 data, "
    "5 run directory in use, 6 disk full, 75 other shards still to do, 130 interrupted. "
    f"{DEBUG_VARIABLE}=1 shows tracebacks.",
)
@click.version_option(silmm.__version__, "--version", prog_name="silmm")
def main() -> None:
    """Align image-generating multimodal models by their own judgement, and measure it."""
