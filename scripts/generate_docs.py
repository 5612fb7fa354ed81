"""Write what is generated: the pages in PAGES, and the tables of README.md and docs/results.md.

The pages come from the commands' own help and the models' docstrings, the tables from benchmarks/results.

`python scripts/generate_docs.py` writes them; a test compares them with what stands in docs/.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import typer
import typer.main

from tastemaker import registry
from tastemaker.cli.main import app
from tastemaker.cli.models import describe
from tastemaker.configurable import Config, explained
from tastemaker.encoders.http import HttpEncoder
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.lm.build import Wrapping
from tastemaker.lm.http import HttpLM
from tastemaker.lm.local import LocalLM
from tastemaker.published import as_page, benchmarks
from tastemaker.serve.settings import Settings as ServeSettings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
HEAD = "<!-- Made by scripts/generate_docs.py; do not edit. -->\n"
WIDTH = 100


def cli_page() -> str:
    """Return the page with the help text of every command."""
    root = typer.main.get_command(app)
    parts = [HEAD, "# Command line\n"]
    for path, command in _commands(root, ("tastemaker",)):
        name = " ".join(path)
        context = typer.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def models_page() -> str:
    """Return the page with one card for each shipped model."""
    parts = [HEAD, "# Models\n", "Every model with its formula, source, and settings with their defaults.\n"]
    for name in registry.names():
        kind = registry.model_class(name)
        facts = describe(name)
        parts.append(f"## {name}\n")
        parts.append(f"```text\n{inspect.getdoc(sys.modules[kind.__module__])}\n```\n")
        words = {True: "yes", False: "no"}
        history, cold, wish = (words.get(facts[key], facts[key]) for key in ("empty_history", "cold_items", "wish"))
        parts.append(
            f"Needs: {', '.join(facts['needs']) or 'nothing'}. Unseen shoppers: yes. "
            f"No history: {history}. Unsold products: {cold}. "
            f"Wish in words: {wish}. Tunable on validation: {words[facts['tunable']]}. "
            f"Can also: {', '.join(facts['can']) or '-'}.\n"
        )
        if kind.Config.model_fields:
            parts.append(_settings_table(kind.Config))
        if measured := accuracy().card(name):
            parts.append(f"{MEASURED}\n\n{measured}")
    return "\n".join(parts)


def benchmarks_page() -> str:
    """Return the page with published figures, and with our accuracy tables as far as they were run."""
    ours = accuracy().page()
    return as_page(benchmarks()) + (f"\n## Measured here\n\n{OURS}\n\n{ours}\n" if ours else "")


def paradigms_page() -> str:
    """Return the page with the survey's paradigms, their commands and figures."""
    introduction = PARADIGMS.format(seeds=accuracy().seeds_in_words())
    return f"{HEAD}\n# The survey's paradigms, run\n\n{introduction}\n\n{accuracy().survey()}\n"


PARADIGMS = """\
Each way in which a language model takes part in a recommendation, after the survey (arXiv 2403.02760 and arXiv
2307.02046), the command that runs it on your data, and what it reached here: leave-one-out, all products ranked,
history masked, fitted on train only, ties in file order, {seeds}.
The models are small on purpose, so the figures tell methods apart on one machine; they are no verdict on large models.
A re-ranker that does not help validation shoppers by
2.8 standard errors is switched off, and its row is then that of its retriever; beside it stands what its own order was
worth on validation, no product rising by more than half of the candidates ("at full weight"). `DIR` is a folder of
data, `*.toml` files are in
`benchmarks/accuracy/configs`. More of each row, with costs and tests, and the same roles on packaged grocery orders:
[Benchmarks](benchmarks.md)."""


def accuracy() -> Any:  # noqa: ANN401  # a module that lies outside the package
    """Return the module that reads benchmarks/accuracy/results."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "accuracy"))
    try:
        return importlib.import_module("accuracy_results")
    finally:
        sys.path.pop(0)


MEASURED = "Measured (all products ranked, fitted on train; see [Benchmarks](benchmarks.md)):"
OURS = """\
All products ranked, fitted on train, purchases of one moment in the order of the file, means over seeds with their
standard deviation. "Made with" names the release, "+ changes" where the checkout had some that were not committed, and
the graphics card: seconds of different cards and loads of the machine do not compare, and later releases move some
figures a little ("[Numbers]" in CHANGELOG.md). "Against the floor" is tested in the run of that row alone and corrected
(Holm) for the pairs of that run, not for all rows of a table; tests between rows are corrected for all tests of that
table. Tests are over shoppers, not over seeds. The files in `benchmarks/accuracy/results` name the commit, settings and
intervals of every row."""


def settings_page() -> str:
    """Return the page with every key of the configuration file."""
    tables = {
        '[encoder] model = "tfidf"': TfidfEncoder.Config,
        '[encoder] model = "transformer"': TransformerEncoder.Config,
        '[encoder] model = "http"': HttpEncoder.Config,
        '[lm] model = "..."': LocalLM.Config,
        '[lm] url = "..."': HttpLM.Config,
        "[lm], around either": Wrapping,
    }
    parts = [HEAD, "# Settings\n", SETTINGS_INTRODUCTION]
    for title, config in tables.items():
        parts.append(f"## {title}\n")
        parts.append(f"{_introduction(config)}\n")
        parts.append(_settings_table(config))
    return "\n".join(parts)


def _introduction(config: type[Config]) -> str:
    """Return what the docstring of a configuration says before its settings."""
    return inspect.cleandoc(config.__doc__ or "").partition("\n\nAttributes:")[0]


def _settings_table(config: type[Config]) -> str:
    """Return the settings of a configuration with defaults and meaning, as a markdown table."""
    lines, meaning = ["| setting | default | meaning |", "|---|---|---|"], explained(config)
    for key, field in config.model_fields.items():
        default = "(must be given)" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        lines.append(f"| `{key}` | {default} | {meaning[key].replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


SETTINGS_INTRODUCTION = """\
A configuration is one TOML file: `[[stage]]` tables in pipeline order, each with `model`, optionally `keep` (candidates
passed on, 50 by default), and the model's own keys (see [Models](models.md)); `fallback`, a model name or "none"
("popular" by default); and the tables `[encoder]` and `[lm]`. `--set stage.0.recency=0.5` changes one key on the
command line. Keys and passwords come from the environment only.
"""


def _made_by(name: str) -> str:
    """Return the table of a script in benchmarks/accuracy with results of its own."""
    accuracy()
    sys.path.insert(0, str(ROOT / "benchmarks" / "accuracy"))
    try:
        script = importlib.import_module(name)
    finally:
        sys.path.pop(0)
    table: str = script.table(script.load())
    return table


def with_tables(page: str) -> str:
    """Return a page with those of its tables made anew that come from results of benchmarks."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import floor
    import listwise
    import protocol
    import speed_table
    import staleness

    sys.path.insert(0, str(ROOT / "benchmarks" / "serving"))
    import outcome

    tables = {
        "floor": floor.table(floor.load()),
        "headline": accuracy().headline(),
        "transfer": _made_by("transfer"),
        "cold": _made_by("cold"),
        "protocol": protocol.table(protocol.load()),
        "listwise": listwise.table(listwise.load()),
        "speed": speed_table.table(),
        "staleness": staleness.table(staleness.load()),
        "served": outcome.table(),
        "serve settings": f"```text\n{inspect.getdoc(ServeSettings)}\n```\n\n{_settings_table(ServeSettings)}",
    }
    for name, table in tables.items():
        start, end = f"<!-- {name} table -->\n", "<!-- end -->"
        before, found, rest = page.partition(start)
        if found:
            _, _, after = rest.partition(end)
            page = f"{before}{start}{table}\n{end}{after}"
    return page


PAGES = {
    "cli.md": cli_page,
    "models.md": models_page,
    "settings.md": settings_page,
    "benchmarks.md": benchmarks_page,
    "paradigms.md": paradigms_page,
}

WITH_TABLES = (ROOT / "README.md", DOCS / "identifiers.md", DOCS / "results.md", DOCS / "serving.md")
"""Pages written by hand, with tables that are not."""


def _commands(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """Return a command and all below it, each with its words."""
    found = [(path, command)]
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        found += _commands(inner, (*path, name))
    return found


if __name__ == "__main__":
    for file, make in PAGES.items():
        (DOCS / file).write_text(make(), encoding="utf-8")
    for page in WITH_TABLES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
