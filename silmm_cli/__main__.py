"""Lets `python -m silmm_cli` do what `silmm` does."""

from silmm_cli import main

main(prog_name="silmm")
