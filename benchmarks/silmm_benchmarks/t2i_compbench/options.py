"""The options of the benchmark `t2i-compbench`, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from silmm.contracts.options import Options, option


class T2ICompBenchOptions(Options):
    """Which prompts are read."""

    custom: bool = option(False, "read own prompts: files named as the official ones, of any length, parsed by spaCy")
