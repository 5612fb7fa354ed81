"""A planted leak of each kind is refused and its rows are named; honest splits pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tastemaker import guards
from tastemaker.data import Dataset, Entities, Queries, readers
from tastemaker.data.split import SPLITS, Holdout, leave_one_out
from tastemaker.data.variants import novel_targets, renumbered, shuffled_ties, without_repeats
from tastemaker.errors import DataError, LeakError
from tastemaker.models.collaborative.popular import Popular
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.recommender import Traceable
from tastemaker.testing import ScriptedChoiceLM, tiny_shop


def timeless(data):
    """The same shop without times."""
    return data.with_log(data.log.with_columns(pl.lit(None, dtype=pl.Int64).alias("timestamp")))


def distinct_shop(users=500, seed=0):
    """A shop where nobody buys a product twice, with more than a thousand chances to do so, and without times."""
    return timeless(without_repeats(tiny_shop(users=users, seed=seed))[0])


def adding(log, rows):
    """A data set with further rows of its own kind."""
    return log.with_log(pl.concat([log.log, rows]).sort("user", maintain_order=True))


def test_row(split, place=0):
    """The held-out interaction of a test question, as a row of the log."""
    user, item = split.test.who()[place], split.test.targets.history(place)[0]
    time = None if split.test.times is None else split.test.times[place]
    row = {"user": [user], "item": [item], "timestamp": [time], "value": [1.0]}
    return pl.DataFrame(row, schema=split.train.log.schema), (user, item)


test_row.__test__ = False


def named(split, user, item):
    return f"user {split.train.users.ids([user])[0]!r}, item {split.train.items.ids([item])[0]!r}"


def timeless_shop():
    return timeless(tiny_shop(users=200))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (tiny_shop, "temporal"),
        *((make, name) for make in (tiny_shop, distinct_shop, timeless_shop) for name in SPLITS if name != "temporal"),
    ],
)
def test_honest_splits_pass(make, name):
    data = make()
    if name == "as-given":
        data = data.with_log(
            data.log.with_columns(split=pl.Series(["train", "train", "valid", "test"]).gather(np.arange(len(data)) % 4))
        )
    for variant in (data, shuffled_ties(data)[0], without_repeats(data)[0]):
        split = SPLITS[name](variant)
        guards.check_all(None, split)
    guards.check_all(None, novel_targets(SPLITS[name](data)).with_facts(repeats="novel"))


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
@pytest.mark.parametrize("side", ["train", "refit"])
def test_a_test_interaction_in_training_data(make, side):
    split = leave_one_out(make())
    row, (user, item) = test_row(split)
    leaky = replace(split, **{side: adding(getattr(split, side), row)})
    with pytest.raises(LeakError, match=r"test targets are interactions of train.*: 1 row ") as caught:
        guards.check_split(leaky)
    assert caught.value.rows == (named(split, user, item),)
    assert named(split, user, item) in str(caught.value)
    assert isinstance(caught.value, DataError)


def test_a_validation_interaction_in_train():
    split = leave_one_out(tiny_shop())
    with pytest.raises(LeakError, match=r"validation targets are interactions of train as well:"):
        guards.check_split(replace(split, train=split.refit))


def test_only_five_rows_are_shown():
    split = leave_one_out(tiny_shop())
    with pytest.raises(LeakError, match=rf"{len(split.validation)} rows .*; \.\.\.\)") as caught:
        guards.check_split(replace(split, train=split.refit))
    assert str(caught.value).count("user ") == 5


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_target_in_its_own_history(make, part):
    split = leave_one_out(make())
    holdout = getattr(split, part)
    first = [*holdout.queries.history(0), *holdout.targets.history(0)]
    histories = [first, *list(holdout.queries)[1:]]
    queries = Queries.from_lists(histories, users=holdout.queries.users)
    leaky = replace(split, **{part: replace(holdout, queries=queries)})
    with pytest.raises(LeakError, match=f"{part} targets are in their own history: 1 row") as caught:
        guards.check_split(leaky)
    assert caught.value.rows == (named(split, holdout.who()[0], holdout.targets.items[0]),)


def test_a_target_in_the_history_of_an_unknown_shopper():
    split = leave_one_out(distinct_shop())
    leaky = replace(split, test=Holdout(Queries.from_lists([[1], [2, 3]]), Queries.from_lists([[0], [3]])))
    with pytest.raises(LeakError, match=r"1 row \(question 1, item 'i003'\)"):
        guards.check_split(leaky)


def test_repeats_that_the_protocol_rules_out():
    """Leaked into log and history alike, so only the stated policy tells."""
    split = leave_one_out(timeless(tiny_shop(users=200)))
    guards.check_split(split.with_facts(repeats="count"))
    for policy in ("exclude", "novel"):
        with pytest.raises(LeakError, match="targets are in their own history"):
            guards.check_split(split.with_facts(repeats=policy))


def test_genuine_repeats_are_no_leak():
    frame = pl.DataFrame({"user_id": list("aaaabbb"), "item_id": list("xyzxxyz")})
    guards.check_split(leave_one_out(Dataset.from_frames(frame)))
    guards.check_split(leave_one_out(Dataset.from_frames(frame.with_columns(timestamp=pl.int_range(7)))))


def test_the_same_event_twice_is_a_leak():
    frame = pl.DataFrame({"user_id": list("aaaa"), "item_id": list("xyzz"), "timestamp": [1, 2, 3, 3]})
    with pytest.raises(LeakError, match=r"user 'a', item 'z'.*use repeats = exclude"):
        guards.check_split(leave_one_out(Dataset.from_frames(frame)))


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
def test_test_items_in_the_validation_choice(make):
    split = leave_one_out(make())
    with pytest.raises(LeakError, match="validation asks the very questions of test"):
        guards.check_split(replace(split, validation=split.test))
    chosen = replace(split.test, queries=split.validation.queries)
    with pytest.raises(LeakError, match="test interactions are among the validation questions"):
        guards.check_split(replace(split, validation=chosen))
    histories = [
        [*history, target] for history, target in zip(split.validation.queries, split.test.targets.items, strict=True)
    ]
    queries = Queries.from_lists(histories, users=split.validation.queries.users)
    with pytest.raises(
        LeakError, match=r"test interactions are among the validation questions|targets are in their own history"
    ):
        guards.check_split(replace(split, validation=replace(split.validation, queries=queries)))


def test_cold_shoppers_in_training_data():
    data = tiny_shop()
    split = SPLITS["user-cold"](data)
    user = split.test.shoppers[0]
    theirs = data.log.filter(pl.col("user") == user).head(1)
    for side, where in (("train", "train"), ("refit", r"train \+ validation")):
        with pytest.raises(LeakError, match=f"interactions of held-out shoppers are in {where}: 1 row") as caught:
            guards.check_split(replace(split, **{side: adding(getattr(split, side), theirs)}))
        assert caught.value.rows == (named(split, user, theirs["item"][0]),)


def test_cold_products_in_training_data_and_histories():
    data = tiny_shop(users=200)
    split = SPLITS["item-cold"](data)
    item = split.test.targets.items[0]
    user = next(user for user in range(data.n_users) if user not in set(split.test.shoppers))
    row, _ = test_row(split)
    row = row.with_columns(pl.lit(user, dtype=pl.Int32).alias("user"))
    with pytest.raises(LeakError, match="held-out products are in train: 1 row") as caught:
        guards.check_split(replace(split, train=adding(split.train, row)))
    assert caught.value.rows == (named(split, user, item),)
    other = split.test.targets.items[split.test.targets.items != item][0]
    row = next(row for row in range(len(split.test)) if other not in split.test.targets.history(row))
    histories = [[*history, other] if n == row else history for n, history in enumerate(split.test.queries)]
    queries = Queries.from_lists(histories, users=split.test.queries.users)
    with pytest.raises(LeakError, match="held-out products are in test histories: 1 row"):
        guards.check_split(replace(split, test=replace(split.test, queries=queries)))


def test_history_after_the_target_is_said():
    words = ["test", "train", "train", "valid"] * 3
    frame = pl.DataFrame({"user_id": list("aaaabbbbcccc"), "item_id": list("wxyz") * 3, "timestamp": range(12)})
    split = SPLITS["as-given"](Dataset.from_frames(frame.with_columns(split=pl.Series(words))))
    assert guards.check_split(split) == {"test_questions_with_later_training_data": 3}
    assert guards.check_split(leave_one_out(tiny_shop())) == {"test_questions_with_later_training_data": 0}


def test_pairs_that_a_model_was_tuned_on():
    split = leave_one_out(tiny_shop())
    users, items = (split.refit.log[name].to_numpy() for name in ("user", "item"))
    guards.check_pairs((users, items), split, what="tuning pairs", refit=True)
    with pytest.raises(LeakError, match=r"among the tuning pairs: .*from split\.train only"):
        guards.check_pairs((users, items), split, what="tuning pairs")
    secret = next(
        row
        for row in range(len(split.test))
        if not np.isin(split.test.targets.history(row), items[users == split.test.who()[row]]).any()
    )
    user, item = split.test.who()[secret], split.test.targets.history(secret)[0]
    with pytest.raises(LeakError, match="held-out interactions among the codebook: 1 row") as caught:
        guards.check_pairs((np.append(users, user), np.append(items, item)), split, what="codebook", refit=True)
    assert caught.value.rows == (named(split, user, item),)


def with_users(data, **columns):
    frame = data.users.frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return Dataset(Entities(frame), data.items, data.log)


def titled(users=80):
    """A shop with long, distinct titles."""
    data = without_repeats(tiny_shop(users=users))[0]
    titles = [f"Hand-made {word} No. {n}, large" for n, word in enumerate(["soap", "brush"] * (data.n_items // 2))]
    frame = data.items.frame.with_columns(title=pl.Series(titles))
    return Dataset(data.users, Entities(frame), data.log)


def last_items(data):
    return [history[-1] if len(history) else None for history in data.queries()]


@pytest.mark.parametrize("kind", ["title", "id", "list"])
def test_shopper_attributes_that_name_the_target(kind):
    data = titled()
    titles, ids = (data.items.frame[name].to_list() for name in ("title", "id"))
    values = {
        "title": ["" if item is None else f"Loves  {titles[item].upper()} most" for item in last_items(data)],
        "id": ["" if item is None else f"next:{ids[item]};" for item in last_items(data)],
        "list": [[] if item is None else ["towel", ids[item]] for item in last_items(data)],
    }[kind]
    split = leave_one_out(with_users(data, profile=values))
    with pytest.raises(LeakError, match=rf"shoppers' 'profile' name the test target: {len(split.test)} rows"):
        guards.check_texts(split)


def test_user_ids_made_from_the_target():
    """The leak of IDGenRec."""
    data = titled()
    ids = [
        f"shopper {n} of {data.items.ids([item])[0]}" if item is not None else str(n)
        for n, item in enumerate(last_items(data))
    ]
    split = leave_one_out(Dataset(Entities.from_ids(ids), data.items, data.log))
    with pytest.raises(LeakError, match="user ids name the test target"):
        guards.check_texts(split)


def test_wishes_that_name_the_target():
    split = leave_one_out(titled())
    titles = split.train.items.frame["title"].to_list()
    texts = ["" for _ in range(len(split.test))]
    texts[3] = f"I want {titles[split.test.targets.history(3)[0]]}"
    test = replace(split.test, queries=replace(split.test.queries, texts=tuple(texts)))
    with pytest.raises(LeakError, match="wishes or profiles name the test target: 1 row") as caught:
        guards.check_texts(replace(split, test=test))
    assert caught.value.rows == (named(split, split.test.who()[3], split.test.targets.history(3)[0]),)


def test_coincidences_are_no_leak():
    """Ages that are also item ids, titles of the history, and one text with all titles for everybody."""
    data = titled()
    frame = data.items.frame.with_columns(id=pl.Series([str(n) for n in range(data.n_items)]))
    rng = np.random.default_rng(0)
    ages = [str(age) for age in rng.integers(0, data.n_items, data.n_users)]
    titles = data.items.frame["title"].to_list()
    profiles = [", ".join(titles[item] for item in history[:-2]) for history in data.queries()]
    everything = [" | ".join(titles)] * data.n_users
    shoppers = with_users(data, age=ages, profile=profiles, newsletter=everything).users
    split = leave_one_out(Dataset(shoppers, Entities(frame), data.log))
    assert guards.check_texts(split)["shopper_texts_checked"] == [
        "shoppers' 'age'",
        "shoppers' 'newsletter'",
        "shoppers' 'profile'",
        "user ids",
    ]


def numbered_by_the_log(users=400, per_user=6):
    """Ids as in P5: each shopper's new products get the next numbers, test product included."""
    rng = np.random.default_rng(0)
    rows, known = [], 1
    for user in range(users):
        for _ in range(per_user):
            item = known if rng.random() < 0.4 else int(rng.integers(known))
            known = max(known, item + 1)
            rows.append((f"u{user}", item))
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(known)]})
    log = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [f"i{row[1]}" for row in rows]})
    return Dataset.from_frames(log, items)


def test_numbers_that_follow_the_log():
    data = numbered_by_the_log()
    split = leave_one_out(data)
    facts = guards.check_ids(split)
    assert facts["item_numbers_follow_log"]["questions_answered_by_next"] > 0.02
    with pytest.raises(LeakError, match=r"item numbers follow the order of the log.*items 'i\d+' -> 'i\d+'"):
        guards.check_ids(split, reads_ids=True)
    shuffled = leave_one_out(renumbered(data))
    assert list(guards.check_ids(shuffled)) == ["item_ids_follow_log"]
    with pytest.raises(LeakError, match="item ids follow the order of the log"):
        guards.check_ids(shuffled, reads_ids=True)
    renamed = Entities.from_ids([f"x{id_[::-1]}y" for id_ in data.items.frame["id"]])
    assert guards.check_ids(leave_one_out(renumbered(Dataset(data.users, renamed, data.log))), reads_ids=True) == {}


def test_a_catalogue_sorted_by_kind_is_no_leak():
    """Neighbours in the catalogue are bought together, in either order."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, 90, 400)
    steps = rng.integers(-1, 2, (400, 5)).cumsum(axis=1) + 5
    rows = [(f"u{user}", int(item)) for user in range(400) for item in start[user] + steps[user]]
    items = pl.DataFrame({"item_id": [f"p{item}" for item in range(101)]})
    log = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [f"p{row[1]}" for row in rows]})
    assert guards.check_ids(leave_one_out(Dataset.from_frames(log, items)), reads_ids=True) == {}


class ReadsIds(Popular):
    """A plug-in that looks at ids."""

    reads_ids = True


class Tuned(Popular):
    """A plug-in that was tuned on test interactions."""

    def __init__(self, split):
        super().__init__()
        self.pairs = split.test.who(), split.test.targets.items[split.test.targets.offsets[:-1]]

    def learnt_from(self):
        return {"tuning pairs": self.pairs}


def test_all_asks_the_pipeline_what_it_reads():
    split = leave_one_out(numbered_by_the_log())
    guards.check_all(Pipeline([Stage(Popular())]), split)
    with pytest.raises(LeakError, match="follow the order of the log"):
        guards.check_all(Pipeline([Stage(Popular())], fallback=ReadsIds()), split)


def test_all_that_a_pipeline_was_tuned_on():
    split = leave_one_out(distinct_shop())
    model = Tuned(split)
    assert isinstance(model, Traceable)
    assert not isinstance(Popular(), Traceable)
    with pytest.raises(LeakError, match="held-out interactions among the tuning pairs of popular"):
        guards.check_fitted(Pipeline([Stage(model)]).fit(split.train), split)


def test_near_duplicates_across_an_item_cold_split():
    data = titled(users=200)
    split = SPLITS["item-cold"](data)
    guards.check_duplicates(split)
    new, old = int(split.test.targets.items[0]), int(split.train.log["item"][0])
    titles = data.items.frame["title"].to_list()
    titles[new] = titles[old] + "!"
    items = Entities(data.items.frame.with_columns(title=pl.Series(titles)))
    leaky = replace(
        split, **{side: Dataset(data.users, items, getattr(split, side).log) for side in ("train", "refit")}
    )
    with pytest.raises(LeakError, match="held-out products have near-duplicates in train") as caught:
        guards.check_duplicates(leaky)
    assert caught.value.rows == (" ~ ".join(f"item {id_!r}" for id_ in data.items.ids([new, old])),)


def test_near_duplicates_of_the_history_are_counted():
    titles = {"a": "green tea, loose leaf 100 g", "b": "Green Tea loose leaf (100 g)", "c": "black coffee beans 1 kg"}
    items = pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    log = pl.DataFrame({"user_id": list("uuuvvv"), "item_id": list("acbcab")})
    log = pl.concat([log, pl.DataFrame({"user_id": list("www"), "item_id": list("cac")})])
    split = leave_one_out(Dataset.from_frames(log, items))
    assert guards.check_duplicates(split) == {"targets_near_duplicate_of_history": round(2 / 3, 6)}


class Leaky(Listwise):
    """A ranker whose prompts name what the shopper buys next."""

    secrets: dict[int, str]

    def _questions(self, queries, shown):
        questions = super()._questions(queries, shown)
        return [
            replace(question, wish=self.secrets.get(int(user), ""))
            for question, user in zip(questions, queries.users, strict=True)
        ]


def asking(model, data, **settings):
    lm = ScriptedChoiceLM(lambda prompt, text: 0.0)
    return Pipeline([Stage(Popular()), Stage(model(lm=lm, **settings))]).fit(data), lm


@pytest.mark.parametrize(
    "settings", [{"weight": 0.5}, {"weight": 0.5, "mode": "titles"}, {"weight": 0.5, "mode": "generate"}, {}]
)
def test_honest_prompts_pass_and_nothing_is_spent(settings):
    split = leave_one_out(titled())
    pipeline, lm = asking(Listwise, split.train, **settings)
    before = pipeline.stages[1].recommender.report()
    assert guards.check_prompts(pipeline, split)["prompts_read"] >= 20
    assert (lm.asked, lm.usage.calls) == ([], 0)
    assert pipeline.stages[1].recommender.report() == before
    assert pipeline.stages[1].recommender.lm is lm


@pytest.mark.parametrize(("part", "settings"), [("test", {"weight": 0.5}), ("validation", {})])
def test_prompts_that_name_the_target(part, settings):
    split = leave_one_out(titled())
    pipeline, _ = asking(Leaky, split.train, **settings)
    titles, holdout = split.train.items.frame["title"].to_list(), getattr(split, part)
    pipeline.stages[1].recommender.secrets = {
        int(user): titles[targets[0]] for user, targets in zip(holdout.who(), holdout.targets, strict=True)
    }
    with pytest.raises(LeakError, match=f"prompts of listwise name {part} targets"):
        guards.check_prompts(pipeline, split)


def test_a_pipeline_without_language_model_has_no_prompts():
    split = leave_one_out(tiny_shop())
    assert guards.check_prompts(Pipeline([Stage(Popular())]).fit(split.train), split) == {}


def test_prompts_of_another_catalogue_cannot_be_checked():
    data = titled()
    pipeline, _ = asking(Listwise, data, weight=0.5)
    with pytest.raises(DataError, match="ranks another catalogue than that of the split"):
        guards.check_fitted(pipeline, leave_one_out(renumbered(data)))


REAL = ("beauty-2014", "toys-2014", "sports-2014", "office-2014", "games-2018")


@pytest.mark.parametrize("name", REAL)
def test_real_data_are_clean(real_data, name):
    data, _ = readers.read(real_data / f"amazon-{name}")
    split = SPLITS["as-given" if "split" in data.log.columns else "leave-one-out"](data)
    facts = guards.check_all(Pipeline([Stage(Popular())]), split)
    assert facts["item_numbers_follow_log"]["questions_answered_by_next"] > 0.01  # all public files are numbered so
