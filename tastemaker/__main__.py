"""Run the command line as `python -m tastemaker`."""

from tastemaker.cli.main import run

run()
