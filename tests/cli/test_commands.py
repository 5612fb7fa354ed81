"""The other verbs: data, evaluate, models, prompts, doctor."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from tastemaker import __version__, provenance, registry


def test_version_and_help(tastemaker):
    assert tastemaker("--version").out.strip() == __version__
    text = tastemaker("--help").out
    for verb in ("demo", "data", "fit", "recommend", "evaluate", "models", "doctor", "weights"):
        assert verb in text


def test_evaluate_json_has_protocol_and_intervals(tastemaker, shop, tmp_path):
    outcome = tastemaker("evaluate", "transitions", "--data", shop, "--json", "--out", tmp_path / "r.json")
    result = outcome.json()
    assert set(result["metrics"]["ndcg@10"]) == {"value", "low", "high"}
    for key in ("split", "history_masked", "fitted_on", "order_of_ties", "seed", "items_ranked", "data_fingerprint"):
        assert key in result["protocol"]
    assert json.loads((tmp_path / "r.json").read_text()) == result
    assert result["config"]["stage"][0]["model"] == "transitions"


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--masking", "unmasked"], "history_masked", False),
        (["--refit", "yes"], "fitted_on", "train + validation"),
        (["--split", "temporal"], "split", "temporal"),
        (["--sample", "10"], "test_queries", 10),
    ],
)
def test_protocol_options(tastemaker, shop, words, key, value):
    assert tastemaker("evaluate", "popular", "--data", shop, "--json", *words).json()["protocol"][key] == value


def test_evaluate_variants_say_what_they_share_and_what_not(tastemaker, shop):
    out = tastemaker("evaluate", "transitions", "--data", shop, "--masking", "both", "--refit", "both").out
    assert out.count("data fingerprint") == 1
    assert out.count("history masked") == out.count("popularity and age") == out.count("groups by") == 4


def test_stages_are_shown_at_the_headline_measure(tastemaker, shop, tmp_path):
    (tmp_path / "two.toml").write_text('[[stage]]\nmodel = "transitions"\n[[stage]]\nmodel = "item_knn"\n')
    out = tastemaker("evaluate", tmp_path / "two.toml", "--data", shop, "-k", 10, "-k", 20).out
    table = out[out.index("after stage") :]
    assert "ndcg@10" in table[:200]
    assert "ndcg@20" not in table


def test_every_installed_package_that_matters_is_recorded(monkeypatch):
    def version(name):
        if name == "faiss-gpu":
            raise metadata.PackageNotFoundError(name)
        return f"{name} 1"

    monkeypatch.setattr(metadata, "version", version)
    made = provenance.versions()
    assert (made["torch"], made["transformers"], made["implicit"]) == ("torch 1", "transformers 1", "implicit 1")
    assert "faiss-gpu" not in made


def test_evaluate_table(tastemaker, shop):
    out = tastemaker("evaluate", "transitions", "--data", shop, "-k", 3).out
    assert "ndcg@3" in out
    assert "leave-one-out" in out


def test_rating_errors_over_neighbours(tastemaker, shop):
    result = tastemaker("evaluate", "user_knn", "--rating", "--data", shop, "--json").json()
    model, enriched = result["models"]
    assert (model["alpha"], enriched["model"]) == (1.0, "user_knn + text")
    assert enriched["alpha"] in (0.1, 0.3, 0.5, 0.7, 0.9)
    assert [row["neighbours"] for row in model["rows"]] == [5, 10, 15, 20, 25, 30]
    assert all(0 < row["mae"] <= row["rmse"] < 4 for row in model["rows"])
    assert "global mean" in result["baselines"]
    assert "fall-back" in tastemaker("evaluate", "user_knn", "--rating", "--data", shop).out


def test_data_validate_lists_bad_rows(tastemaker, tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nu1,i1,1600000000\nu2,,1600000000\nu3,i1,soon\n")
    outcome = tastemaker("data", "validate", tmp_path / "log.csv", "--json")
    assert outcome.code == 2
    problems = outcome.json()
    problems = problems["problems"] if isinstance(problems, dict) else problems
    assert [set(one) for one in problems] == [{"file", "line", "column", "value", "rule", "hint"}] * 2
    assert [(one["line"], one["column"]) for one in problems] == [(3, "item_id"), (4, "timestamp")]


def test_bad_rows_stop_and_max_bad_goes_on(tastemaker, refused, tmp_path):
    rows = "".join(f"u{row % 7},i{row % 5},{1_600_000_000 + row}\n" for row in range(60))
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp\n{rows}u1,,1600000000\n")
    assert "log.csv:62" in refused("evaluate", "popular", "--data", tmp_path / "log.csv")
    outcome = tastemaker("evaluate", "popular", "--data", tmp_path / "log.csv", "--max-bad", 1, "--json")
    assert outcome.code == 0
    assert "left out: 1 interaction (bad rows: 1: 1 item_id: empty-id)" in outcome.err
    assert outcome.json()["data"]["left_out"] == {"interactions": 1}


def test_data_convert_and_describe(tastemaker, shop, tmp_path):
    outcome = tastemaker("data", "convert", shop, tmp_path / "copy", "--to", "csv", "--gzip", "--json")
    assert outcome.json()["users"] == 80
    first, second = (tastemaker("data", "describe", place, "--json").json() for place in (shop, tmp_path / "copy"))
    assert first["fingerprint"] == second["fingerprint"]
    table = tastemaker("data", "describe", shop).out
    assert table.count("\n") > 10
    assert "['" not in table


def test_models_lists_every_model(tastemaker):
    rows = tastemaker("models", "--json").json()
    assert [row["model"] for row in rows] == registry.names()
    assert {"transitions", "popular", "item_knn", "user_knn", "ease", "als", "bpr", "text_knn", "listwise"} <= {
        row["model"] for row in rows
    }
    assert "transitions" in tastemaker("models").out


def test_prompts_have_identities(tastemaker):
    identities = [one["identity"] for one in tastemaker("prompts", "--json").json()]
    assert len(set(identities)) == len(identities) >= 4
    assert "Candidates:" in tastemaker("prompts", "palr-choose").out


def test_doctor_names_what_is_missing(tastemaker):
    checks = tastemaker("doctor", "--json").json()
    names = {one["check"] for one in checks}
    assert {"sqlite", "cache folder", "extra 'implicit'"} <= names
    assert all(one["cure"] for one in checks if one["state"].startswith("optional, not"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "transition", "--data", "."], "no model of that name"),
        (["evaluate", "popular", "--data", "/no/such"], "no such file"),
        (["evaluate", "popular", "--data", "SHOP", "--split", "random"], "split random: unknown"),
        (["evaluate", "popular", "--data", "SHOP", "--split", "as-given"], "no column 'split'"),
        (["evaluate", "user_knn", "--rating", "--data", "SHOP", "--refit", "yes"], "--rating: --refit has no meaning"),
        (["evaluate", "popular", "--data", "SHOP", "--set", "encoder=tfidf"], "must be a table, [encoder] with model"),
        (["evaluate", "popular", "--data", "SHOP", "--set", "stage.0.model.x=3"], "lies inside a plain value"),
        (["evaluate", "popular", "--data", "SHOP", "--set", "data.x=3"], "unknown key"),
        (["evaluate", "x" * 5000, "--data", "SHOP"], "no such file"),
        (["evaluate", "popular", "--data", "SHOP", "--set", "fallback=listwise"], "only re-ranks candidates"),
        (["evaluate", "popular", "--rating", "--data", "SHOP"], "needs one stage that predicts ratings"),
        (["evaluate", "listwise", "--data", "SHOP"], "only re-ranks candidates; put a retriever before it"),
        (["fit", "popular", "--data", "SHOP", "--out", "SHOP"], "not a saved model; choose another folder"),
    ],
)
def test_mistakes_are_one_line(refused, shop, words, message):
    assert message in refused(*(str(shop) if word == "SHOP" else word for word in words))


def test_usage_mistakes_exit_with_2(tastemaker):
    assert tastemaker("evaluate").code == 2
    assert tastemaker("recommend", "x", "-k", "0", "--all").code == 2


def test_fit_says_what_it_replaces_and_spares_what_is_no_model(tastemaker, refused, shop, tmp_path):
    words = ("fit", "popular", "--data", shop, "--split", "none", "--out", tmp_path / "model")
    assert "will be replaced" not in tastemaker(*words).err
    said = tastemaker("fit", "transitions", *words[2:]).err
    assert f"note: {tmp_path / 'model'} holds a saved model (popular, 40 products, " in said
    assert "which will be replaced" in said
    (tmp_path / "model" / "shop.db").write_bytes(b"mine")
    assert "shop.db is no part of the saved model there and would be lost" in refused(*words)
    assert (tmp_path / "model" / "shop.db").read_bytes() == b"mine"
    assert "not a saved model; choose another folder" in refused(*words[:-1], shop)
