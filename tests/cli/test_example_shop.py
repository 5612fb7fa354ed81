"""The example shop: what it holds, and that the configurations of README and quickstart run on it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tiny_models

from tastemaker.data import readers
from tastemaker.data.example import NAMED, SHOPPERS, UNSOLD
from tastemaker.data.splits import leave_one_out
from tastemaker.models.parts.reranking.reranker import LEAST_QUESTIONS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def example(tastemaker, tmp_path):
    assert tastemaker("data", "example", tmp_path / "shop").code == 0
    return tmp_path / "shop"


def test_the_example_can_be_learnt_from_and_judged_on(tastemaker, refused, example, tmp_path):
    shop, report = readers.read(example)
    assert (shop.n_users, report.bad_rows) == (SHOPPERS, 0)
    assert set(NAMED) <= set(shop.users.frame["id"])
    assert sorted(shop.items.ids((shop.popularity == 0).nonzero()[0])) == sorted(UNSOLD)
    assert all(len(set(history.tolist())) == len(history) >= 4 for history in shop.queries())
    assert len(leave_one_out(shop).validation) == SHOPPERS >= LEAST_QUESTIONS
    found = tastemaker("evaluate", "transitions", "--data", example, "--json").json()["metrics"]["ndcg@10"]["value"]
    assert (
        found
        > 1.5 * tastemaker("evaluate", "popular", "--data", example, "--json").json()["metrics"]["ndcg@10"]["value"]
    )
    again = tmp_path / "again"
    assert tastemaker("data", "example", again, "--json").json()["users"] == SHOPPERS
    for name in ("interactions.csv", "items.csv"):
        assert (again / name).read_bytes() == (example / name).read_bytes()
    assert "is there already" in refused("data", "example", again)
    shown = (ROOT / "docs" / "quickstart.md").read_text()
    for name in ("interactions.csv", "items.csv"):
        assert "".join((example / name).read_text().splitlines(keepends=True)[:3]) in shown


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_a_re_ranker_runs_out_of_the_box(tastemaker, example, tmp_path, page):
    pytest.importorskip("transformers", reason="needs the extra 'lm'")
    found = re.findall(r"^```toml\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    code = next(one for one in found if '"listwise"' in one)
    assert tomllib.loads(code)["stage"][1] == {"model": "listwise"}, "its weight is chosen on validation"
    (tmp_path / "c.toml").write_text(code)
    lm = ("--set", f"lm.model={tiny_models.causal(context=2048)}", "--set", "lm.cache=false")
    fitted = tastemaker("fit", tmp_path / "c.toml", *lm, "--data", example, "--out", tmp_path / "m", "--split", "none")
    assert fitted.code == 0, fitted.err
    answer = tastemaker("recommend", tmp_path / "m", "--user", "ben", "-k", 3, "--json").json()
    assert len(answer["item_ids"]) == 3
