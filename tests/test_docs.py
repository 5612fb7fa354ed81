"""Docs that cannot go stale: the quickstart runs, generated pages are compared, tables match their results."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(file: Path, languages: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (language, code)
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", file.read_text(), re.DOTALL | re.MULTILINE)
        if language in languages
    ]


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page", ["quickstart.md", "concepts.md", "measures.md", "guards.md", "rules.md", "experiments.md"]
)
def test_the_page_runs(page, tmp_path):
    """Run every sh and python block of a page in order, in one folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for language, code in blocks(ROOT / "docs" / page, ("sh", "python")):
        command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


def test_toml_blocks_build():
    import tomllib

    from tastemaker import registry
    from tastemaker.lm import build as language_models

    pages = ("README.md", "docs/pipeline.md", "docs/pretraining.md", "docs/finetuning.md")
    found = [code for page in pages for _, code in blocks(ROOT / page, ("toml",))]
    assert found
    for code in found:
        settings = tomllib.loads(code)
        if "lm" in settings:
            language_models.check(settings.pop("lm"))  # building it needs the weights
        assert registry.build(settings).stages


@pytest.mark.parametrize("page", ["cli.md", "models.md", "settings.md", "benchmarks.md", "paradigms.md"])
def test_generated_pages_are_up_to_date(page):
    generate = load_script("scripts/generate_docs")
    assert generate.PAGES[page]() == (ROOT / "docs" / page).read_text(), "run: make docs"


def test_tables_are_those_of_the_results():
    generate = load_script("scripts/generate_docs")
    texts = {page: page.read_text() for page in generate.WITH_TABLES}
    assert {page: generate.with_tables(text) for page, text in texts.items()} == texts, "run: make docs"
    shown = "".join(texts.values())
    assert all(
        f"<!-- {name} table -->" in shown
        for name in ("floor", "headline", "protocol", "listwise", "speed", "transfer", "cold")
    )


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
