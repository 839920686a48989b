"""Makes `python -m silmm_cli` the same command as `silmm`."""

from silmm_cli import main

main(prog_name="silmm")
