from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tastemaker.data import readers
from tastemaker.data.fetching.fetch import sources
from tastemaker.data.splits import SPLITS
from tastemaker.errors import ConfigError
from tastemaker.published import as_json, as_markdown, benchmarks, check_data, figures, joined
from tastemaker.published.figures import parse
from tastemaker.testing import tiny_shop

ROOT = Path(__file__).resolve().parent.parent
HEAD = {"title": "T", "split": "leave-one-out", "users": 3, "items": 2, "interactions": 6, "fetch": "", "note": "N"}
FIGURE = {"model": "M", "kind": "paper", "source": "S", "checked": "read", "masked": True, "values": {"ndcg@10": 0.5}}


def toml(head=None, *rows):
    """Return a benchmark file; a value of None leaves a key out."""
    text = ["[benchmark]", *_lines({**HEAD, **(head or {})})]
    for row in rows:
        text += ["[[figure]]", *_lines({**FIGURE, **row})]
    return "\n".join(text)


def _lines(table):
    for key, value in table.items():
        if isinstance(value, dict):
            pairs = [f'"{name}" = {json.dumps(one)}' for name, one in value.items()]
            yield f"{key} = {{ {', '.join(pairs)} }}"
        elif value is not None:
            yield f"{key} = {json.dumps(value)}"


def compared(**changes):
    """A comparison of two models, in the shape of `Comparison.to_dict()`."""
    protocol = {"split": "leave-one-out", "history_masked": True, "fitted_on": "train", "items_ranked": "all"}

    def row(model, value, **own):
        ndcg = {"value": value, "low": value - 0.002, "high": value + 0.002, "spread": None}
        metrics = {"ndcg@10": ndcg, "recall@10": {"value": 0.1, "low": None, "high": None, "spread": None}}
        facts = {"variant": "v1", "error": None, "seeds": 2, "protocol": {}, "verdict": "above the floor"}
        return {"model": model, "metrics": metrics, **facts, **own}

    unmasked = row("mine", 0.030, variant="v2", protocol={"history_masked": False})
    failed = {"model": "broken", "error": "no memory", "variant": "v1", "protocol": {}, "metrics": {}}
    return {
        "made_by": {"command": ["tastemaker", "compare", "my model.toml"]},
        "data": {"users": 3, "items": 2, "interactions": 6},
        "seeds": [0, 1],
        "variants": ["v1", "v2"],
        "protocol": protocol,
        "rows": [row("mine", 0.045), unmasked, failed],
        **changes,
    }


TINY = parse(
    "tiny",
    toml(
        {},
        {"model": "best", "values": {"ndcg@10": 0.06, "recall@10": 0.09}, "seeds": 5, "refit": False, "ties": "file"},
        {"model": "unsaid", "masked": "not stated", "values": {"ndcg@10": 0.04}},
        {
            "model": "open",
            "masked": False,
            "refit": True,
            "ties": "random",
            "data": "2018",
            "values": {"ndcg@10": 0.01},
        },
        {"model": "other k", "values": {"ndcg@5": 0.9}},
        {"model": "sampled", "comparable": False, "sampled": True, "note": "easy", "values": {"ndcg@10": 0.8}},
    ),
)


def test_every_packaged_benchmark_is_sound():
    known = benchmarks()
    assert len(known) == 6
    for name, one in known.items():
        assert one.split in SPLITS and one.note.endswith(".")
        if one.fetch:
            assert one.fetch == name
            assert sources()[name].counts == one.counts
        for figure in one.figures:
            assert not figure.note or figure.note.endswith(".")
    comparable = {name: sum(one.comparable for one in known[name].figures) for name in known}
    assert [name for name, count in comparable.items() if not count] == [
        "amazon-games-2018",
        "amazon-office-2014",
        "movielens-100k",
    ]


@pytest.mark.parametrize(
    ("name", "model", "values"),
    [
        ("amazon-beauty-2014", "BSARec, cross-entropy", (0.0730, 0.0523, 0.1002, 0.0610)),
        ("amazon-toys-2014", "TIGER", (0.0521, 0.0371, 0.0712, 0.0432)),
    ],
)
def test_figures_are_those_of_the_sources(name, model, values):
    (figure,) = (one for one in figures(name) if one.model == model)
    assert tuple(figure.values[measure] for measure in ("recall@5", "ndcg@5", "recall@10", "ndcg@10")) == values


def test_what_no_source_says_is_not_claimed():
    """Only our own counts are known in every respect; a figure from elsewhere states what its source does."""
    for one in benchmarks().values():
        for figure in one.figures:
            if figure.checked == "measured":
                assert None not in (figure.masked, figure.refit, figure.ties), figure
            elif figure.checked != "read":
                assert figure.refit is None and figure.ties is None, figure


@pytest.mark.parametrize("word", ["beauty", "sports", "toys", "games", "office", "100k"])
def test_short_names_mean_one_benchmark(word):
    assert len([name for name in benchmarks() if word in name]) == 1


def test_values_agree_with_each_other():
    """Recall grows with k, and the gain of one relevant item is at most its recall."""
    for one in benchmarks().values():
        for figure in one.figures:
            found = figure.values
            for name in ("recall", "ndcg"):
                if {f"{name}@5", f"{name}@10"} <= found.keys():
                    assert found[f"{name}@5"] < found[f"{name}@10"], figure
            for k in (5, 10):
                if {f"ndcg@{k}", f"recall@{k}"} <= found.keys():
                    assert found[f"ndcg@{k}"] < found[f"recall@{k}"], figure


def test_leaky_and_sampled_figures_are_kept_out_of_the_table():
    shown = {row.model for row in joined(benchmarks()["amazon-beauty-2014"])}
    assert "TIGER" in shown
    assert not shown & {"LlamaRec", "P5, original item numbers", "IDGenRec, as released", "LIGER, cold products"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[benchmark", "tiny.toml: "),
        ("", "tiny.toml.benchmark: missing"),
        (toml({"users": None}), "tiny.toml.benchmark.users: missing"),
        (toml({"usres": 1}), "benchmark.usres: unknown key; did you mean 'users'"),
        (toml({"users": 0}), "benchmark.users: 0 is not a positive number"),
        (toml({"users": True}), "benchmark.users: True is not"),
        (toml({"split": "random"}), "benchmark.split: 'random' is not leave-one-out or as-given"),
        (toml({}, {"masked": None}), r"figure\[0\].masked: missing"),
        (toml({}, {"masked": "maybe"}), r"figure\[0\].masked: 'maybe' is not true, false or 'not stated'"),
        (toml({}, {"kind": "rumour"}), r"kind: 'rumour' is not paper, rerun"),
        (toml({}, {"checked": "yes"}), r"checked: 'yes' is not read"),
        (toml({}, {"values": {"ndgc@10": 0.1}}), "'ndgc@10' is not a measure"),
        (toml({}, {"values": {"ndcg@10": 5.1}}), "5.1 is not a number between 0 and 1"),
        (toml({}, {"values": {}}), "is not a value, or comparable = false"),
        (toml({}, {"comparable": False}), "is not why the figure is not comparable"),
        (toml({}, {"sampled": True}), "sampled: True is not comparable"),
        (toml({}, {"ties": "odd"}), "ties: 'odd' is not file or random"),
        (toml({}, {"refit": "no"}), "refit: 'no' is not true or false"),
        (toml({}, {"seeds": 0}), "seeds: 0 is not a positive"),
        (toml({}, {"extra": 1}), "extra: unknown key"),
        (toml({}, {}, {}), "'M' is not a name that only one figure has"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text, words):
    with pytest.raises(ConfigError, match=words):
        parse("tiny", text)


def test_unknown_benchmarks():
    with pytest.raises(ConfigError, match="did you mean 'amazon-beauty-2014'"):
        figures("amazon-beauty")


def test_joined_sorts_ours_among_theirs():
    rows = joined(TINY, compared(), ["ndcg@10", "recall@10"])
    assert [row.model for row in rows] == ["best", "mine, v1", "unsaid", "mine, v2", "open"]
    assert [row.ours for row in rows] == [False, True, False, True, False]
    best, mine, unsaid, unmasked, other = rows
    assert mine.source == "tastemaker compare 'my model.toml'"
    assert mine.intervals == {"ndcg@10": (pytest.approx(0.043), pytest.approx(0.047))}
    assert (mine.seeds, best.seeds, unsaid.seeds) == (2, 5, None)
    assert (mine.differs, best.differs) == ((), ())
    assert (unsaid.differs, unsaid.not_stated) == ((), ("masking", "refit", "ties"))
    assert (best.not_stated, mine.not_stated, other.not_stated) == ((), (), ())
    assert unmasked.differs == ("history not masked",)
    changed = ("history not masked", "fitted on train + validation", "data: 2018", "ties: at random")
    assert other.differs == changed


def test_joined_compares_with_our_first_row():
    comparison = compared()
    comparison["protocol"] |= {
        "history_masked": False, "fitted_on": "train + validation", "split": "temporal", "order_of_ties": "at random"
    }  # fmt: skip
    rows = {row.model: row for row in joined(TINY, comparison, ["ndcg@10"])}
    assert rows["mine, v1"].differs == ()
    changed = ("split: leave-one-out", "fitted on train", "ties: as in the file")
    assert rows["best"].differs == ("history masked", *changed)
    assert rows["open"].differs == ("split: leave-one-out", "data: 2018")
    assert rows["unsaid"].differs == ("split: leave-one-out",)


def test_other_data_are_said_on_every_row():
    comparison = compared(data={"users": 3, "items": 5, "interactions": 6})
    rows = {row.model: row for row in joined(TINY, comparison, ["ndcg@10"])}
    assert rows["mine, v1"].differs == ("data: 5 items, T has 2",)
    assert rows["best"].differs == ("data: as published",)


def test_joined_without_ours_and_without_measures():
    assert [row.model for row in joined(TINY, measures=["ndcg@5"])] == ["other k"]
    assert joined(replace(TINY, figures=())) == []
    with pytest.raises(ConfigError, match="name at least one"):
        joined(TINY, compared(), [])


def test_markdown_and_json():
    rows = joined(TINY, compared(variants=["v1"]), ["ndcg@10", "recall@10"])
    lines = as_markdown([replace(rows[1], model="a|b"), rows[2]], ["ndcg@10", "recall@10"]).splitlines()
    assert lines[2] == (
        "| **a\\|b (ours)** | 0.0450 [0.0430, 0.0470] | 0.1000 | 2 | - | - | `tastemaker compare 'my model.toml'` |"
    )
    assert lines[3] == "| unsaid | 0.0400 | - | - | - | masking, refit, ties | S |"
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    plain = json.loads(json.dumps(as_json(rows)))
    assert plain[0]["model"] == "best" and plain[0]["values"] == {"ndcg@10": 0.06, "recall@10": 0.09}
    assert plain[1]["differs"] == [] and plain[1]["ours"] is True
    assert plain[2]["not_stated"] == ["masking", "refit", "ties"]


def test_check_data_says_what_differs():
    shop = tiny_shop(users=20)
    same = replace(TINY, users=shop.n_users, items=shop.n_items, interactions=len(shop))
    assert check_data(same, shop) == []
    assert check_data(replace(same, users=1), shop) == [f"{shop.n_users} users, T has 1"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", benchmarks())
def test_the_real_data_are_those_of_the_benchmarks(name, real_data):
    data, _ = readers.read(real_data / name)
    assert check_data(benchmarks()[name], data) == []
