"""Boosts, diversity, caps, pins and fallback: hand-worked lists, a slow version, and what must hold for any rules."""

from __future__ import annotations

import numpy as np
import pytest
from rule_shop import DAY, NOW

from tastemaker.errors import DataError
from tastemaker.rules import CatalogueColumns, Context, RuleSet, Shopper, plan
from tastemaker.rules.asking import LATELY
from tastemaker.rules.placing import HEAD

LIST = ["i0", "i1", "i2", "i3", "i4", "i5"]


def rule(name="it", **action):
    return {"name": name, **action}


def test_without_rules_the_list_is_cut(arranged):
    ids, notes, done = arranged([], LIST, n=4)
    assert ids == LIST[:4]
    assert notes == []
    assert done.scores.tolist() == [6, 5, 4, 3]
    assert done.sources == ("ranked",) * 4


@pytest.mark.parametrize(
    ("action", "expected", "moved"),
    [
        ({"boost": {"items": ["i3"], "places": 2}}, ["i0", "i3", "i1", "i2", "i4", "i5"], [("i3", 4, 2)]),
        ({"boost": {"items": ["i3"], "places": 50}}, ["i3", "i0", "i1", "i2", "i4", "i5"], [("i3", 4, 1)]),
        ({"bury": {"items": ["i1"], "places": 2}}, ["i0", "i2", "i3", "i1", "i4", "i5"], [("i1", 2, 4)]),
        ({"bury": {"items": ["i0"], "places": 50}}, ["i1", "i2", "i3", "i4", "i5", "i0"], [("i0", 1, 6)]),
        (
            {"boost": {"items": ["i3", "i4"], "places": 2}},
            ["i0", "i3", "i4", "i1", "i2", "i5"],
            [("i3", 4, 2), ("i4", 5, 3)],
        ),
        # scores 6 .. 1 are 1, .8, .6, .4, .2, 0 of the list; .4 * 1.75 = .7 lies between .8 and .6
        ({"boost": {"items": ["i3"], "factor": 1.75}}, ["i0", "i1", "i3", "i2", "i4", "i5"], [("i3", 4, 3)]),
        ({"boost": {"items": ["i3"], "factor": 2}}, ["i0", "i1", "i3", "i2", "i4", "i5"], [("i3", 4, 3)]),  # a tie
        ({"bury": {"items": ["i1"], "factor": 1.5}}, ["i0", "i2", "i1", "i3", "i4", "i5"], [("i1", 2, 3)]),
        ({"boost": {"items": ["i5"], "factor": 1000}}, LIST, [("i5", 6, 6)]),
    ],
)
def test_moves(arranged, action, expected, moved):
    ids, notes, done = arranged([rule(**action)], LIST)
    assert ids == expected
    kind = next(iter(action))
    assert notes == [("it", kind, *one) for one in moved]
    assert {item: 6.0 - place for place, item in enumerate(LIST)} == dict(zip(ids, done.scores.tolist(), strict=True))


def test_a_factor_means_the_same_in_any_scale(arranged):
    boost = [rule(boost={"items": ["i3"], "factor": 1.75})]
    plain, _, _ = arranged(boost, LIST)
    for scale in (lambda score: score * 1e6, lambda score: score - 100, lambda score: score * 1e-3 - 7):
        assert arranged(boost, LIST, scores=[scale(6.0 - place) for place in range(6)])[0] == plain


def test_factors_multiply_and_places_add(arranged):
    both = [
        rule("a", boost={"items": ["i3"], "factor": 1.5}),
        rule("b", boost={"items": ["i3"], "factor": 1.5}),
        rule("c", boost={"items": ["i5"], "places": 1}),
        rule("d", boost={"items": ["i5"], "places": 2}),
    ]
    ids, notes, _ = arranged(both, LIST)
    assert ids == ["i0", "i3", "i5", "i1", "i2", "i4"]  # .4 * 2.25 = .9; then i5 from place 6 to 3
    assert [note[0] for note in notes] == ["a", "b", "c", "d"]


def test_alike_scores_are_boosted_alike(arranged):
    ids, _, _ = arranged([rule(boost={"items": ["i2"], "factor": 1.1})], LIST, scores=[3.0] * 6)
    assert ids == ["i2", "i0", "i1", "i3", "i4", "i5"]


@pytest.mark.parametrize(
    ("pin", "given", "expected"),
    [
        ({"items": ["i4"]}, LIST, ["i4", "i0", "i1", "i2", "i3", "i5"]),
        ({"items": ["i4", "i5"], "positions": [3, 1]}, LIST, ["i5", "i0", "i4", "i1", "i2", "i3"]),
        ({"items": ["i0"], "positions": [6]}, LIST, ["i1", "i2", "i3", "i4", "i5", "i0"]),
        ({"items": ["i0"], "positions": [7]}, LIST, LIST),  # beyond the list of six: not in force
        ({"items": ["i5"], "positions": [2]}, ["i0", "i1"], ["i0", "i5", "i1"]),  # the model did not list it
        ({"items": ["i5"], "positions": [5]}, ["i0", "i1"], ["i0", "i1", "i5"]),  # a short list ends with it
        ({"items": ["nowhere", "i5"]}, ["i0", "i1"], ["i0", "i5", "i1"]),
        ({"items": ["i5"]}, [], ["i5"]),
    ],
)
def test_pins(arranged, pin, given, expected):
    ids, notes, done = arranged([rule(pin=pin)], given, n=6)
    assert ids == expected
    for name, action, item, before, after in notes:
        assert (name, action) == ("it", "pin")
        assert before == (given.index(item) + 1 if item in given else None)
        assert after == expected.index(item) + 1
        assert done.sources[after - 1] == "pinned"
        assert (done.scores[after - 1] == -np.inf) == (item not in given)


def test_of_pins_at_one_place_the_first_rule_wins(arranged):
    pins = [rule("a", pin={"items": ["i5"]}), rule("b", pin={"items": ["i4", "i5"], "positions": [1, 3]})]
    ids, notes, _ = arranged(pins, LIST)
    assert ids == ["i5", "i4", "i0", "i1", "i2", "i3"]
    assert notes == [("a", "pin", "i5", 6, 1), ("b", "pin", "i4", 5, 2)]


# groups: i0 g0, i1 g1, i2 g2, i3 g2, i4 none, i5 g0
@pytest.mark.parametrize(
    ("cap", "expected", "capped"),
    [
        ({"by": "group_id", "at_most": 1}, ["i0", "i1", "i2", "i4"], {"i3": None, "i5": None}),
        ({"by": "group_id", "at_most": 1, "top": 4}, ["i0", "i1", "i2", "i4", "i3", "i5"], {"i3": 5}),
        ({"by": "group_id", "at_most": 1, "top": 6}, ["i0", "i1", "i2", "i4"], {"i3": None, "i5": None}),
        ({"by": "seller", "at_most": 2}, ["i0", "i1", "i2", "i3", "i4"], {"i5": None}),
        ({"by": "seller", "at_most": 1, "top": 3}, ["i0", "i2", "i4", "i1", "i3", "i5"], {"i1": 4, "i3": 5}),
        ({"by": "brand", "at_most": 1}, ["i0", "i2", "i4", "i5"], {"i1": None, "i3": None}),  # Acme is acme
        ({"by": "category", "at_most": 1}, ["i0", "i1", "i2", "i3", "i4"], {"i5": None}),  # the last category
        ({"by": "no such column", "at_most": 1}, LIST, {}),
    ],
)
def test_caps(arranged, cap, expected, capped):
    ids, notes, _ = arranged([rule(cap=cap)], LIST)
    assert ids == expected
    assert notes == [("it", "cap", item, LIST.index(item) + 1, place) for item, place in capped.items()]


def test_pins_count_for_caps_and_win_over_them(arranged):
    cap = rule("cap", cap={"by": "seller", "at_most": 1})  # Smith: i0 i1, Jones: i2 i3 i5
    assert arranged([cap, rule("pin", pin={"items": ["i5"], "positions": [3]})], LIST)[0] == ["i0", "i4", "i5"]
    assert arranged([cap, rule("pin", pin={"items": ["i5", "i3"]})], LIST)[0] == ["i5", "i3", "i0", "i4"]


def test_several_caps_hold_together(arranged):
    caps = [rule("a", cap={"by": "seller", "at_most": 2}), rule("b", cap={"by": "group_id", "at_most": 1})]
    assert arranged(caps, LIST)[0] == ["i0", "i1", "i2", "i4"]
    assert arranged(caps, ["i5", "i3", "i2", "i0", "i1", "i4"])[0] == ["i5", "i3", "i1", "i4"]


PINS = [rule("pin", pin={"items": ["i5", "i4"]}), rule("spare", fallback={"items": ["i3", "i2", "i1"]})]
BOUGHT = rule("bought", already_bought={"days": 30})


@pytest.mark.parametrize(
    ("rules", "had", "bought", "expected"),
    [
        (PINS, [], [], ["i5", "i4", "i0", "i3", "i2", "i1"]),
        (PINS, ["i5", "i3"], [], ["i0", "i4", "i2", "i1"]),
        (PINS, ["i0"], [], ["i5", "i4", "i0", "i3", "i2", "i1"]),  # what the model lists is the caller's business
        ([*PINS, BOUGHT], ["i5", "i3"], [("i4", 5), ("i2", 29), ("i3", 31)], ["i5", "i0", "i3", "i1"]),
        ([*PINS, BOUGHT], ["i5", "i3"], [("i4", None)], ["i5", "i0", "i3", "i2", "i1"]),
        (
            [*PINS, {**BOUGHT, "when": {"strategies": ["basket"]}}],
            ["i5", "i3"],
            [("i4", 5)],
            ["i0", "i4", "i2", "i1"],
        ),
    ],
)
def test_pins_and_fallbacks_leave_out_what_the_shopper_has(columns, rules, had, bought, expected):
    times = [LATELY if days is None else NOW - days * DAY for _, days in bought]
    shopper = Shopper(
        items=columns.numbers([item for item, _ in bought]),
        event_types=["purchase"] * len(bought),
        timestamps=np.array(times, dtype=np.int64),
        had=columns.numbers(had),
    )
    made = plan(RuleSet.parse({"rule": rules}), columns, shopper, Context(NOW))
    done = made.apply(columns.numbers(["i0"]), np.ones(1, np.float32), n=6)
    assert columns.ids(done.items) == expected
    left = {columns.ids([note.item])[0]: note.rule for note in done.notes if note.action == "suppressed"}
    cause = "shopper has it" if made.had else "bought"
    assert left == dict.fromkeys({"i4", "i5"} - {*expected}, cause)


def test_fallback_fills_up_in_its_order(arranged):
    rules = [
        rule("a", fallback={"items": ["i5", "i0", "nowhere", "i3"]}),
        rule("b", fallback={"items": ["i3", "i4"]}),
    ]
    ids, notes, done = arranged(rules, ["i0", "i1"], n=5)
    assert ids == ["i0", "i1", "i5", "i3", "i4"]
    assert notes == [
        ("a", "fallback", "i5", None, 3),
        ("a", "fallback", "i3", None, 4),
        ("b", "fallback", "i4", None, 5),
    ]
    assert done.sources == ("ranked", "ranked", "fallback", "fallback", "fallback")
    assert arranged(rules, [], n=2)[0] == ["i5", "i0"]
    assert arranged(rules, LIST, n=3)[0] == LIST[:3]


def test_fallback_keeps_to_caps(arranged):
    rules = [rule("a", fallback={"items": ["i3", "i4"]}), rule("b", cap={"by": "group_id", "at_most": 1})]
    assert arranged(rules, ["i2", "i0", "i5"], n=4)[0] == ["i2", "i0", "i4"]


def test_nothing_at_all(arranged):
    assert arranged([rule(boost={"brands": ["acme"], "factor": 2})], [])[0] == []


VECTORS = np.asarray([[1, 0], [1, 0.1], [0, 1], [1, 0], [np.nan, 0], [0, 0]], dtype=np.float32)


def test_diversity_without_strength_changes_nothing(arranged):
    ids, notes, _ = arranged([rule(diversity={"strength": 0})], LIST, vectors=VECTORS.__getitem__)
    assert ids == LIST
    assert notes == []


def test_diversity_takes_what_is_unlike(arranged):
    ids, notes, _ = arranged([rule(diversity={"strength": 0.5, "top": 3})], LIST, vectors=VECTORS.__getitem__)
    # relevances 1, .8, .6, .4, .2, 0; after i0: i1 .4-.5, i2 .3-0, i3 .2-.5, i4 .1, i5 0; then i4, which has no
    # direction and so is like nothing, .1 > i5 0 > i1 .4-.4975
    assert ids == ["i0", "i2", "i4", "i1", "i3", "i5"]
    assert notes == [("it", "diversity", "i2", 3, 2), ("it", "diversity", "i4", 5, 3)]


def test_diversity_needs_vectors_and_says_so(arranged):
    ids, notes, _ = arranged([rule(diversity={"strength": 1})], LIST)
    assert ids == LIST
    assert notes == [("it", "skipped", None, None, None)]


def _slow_mmr(relevance, vectors, strength, n):
    """Carbonell & Goldstein's formula as it is written."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen: list[int] = []
    while len(chosen) < n:
        best, value = -1, -np.inf
        for row in range(len(relevance)):
            if row in chosen:
                continue
            nearest = max((float(unit[row] @ unit[other]) for other in chosen), default=0.0)
            found = (1 - strength) * relevance[row] - strength * nearest
            if found > value:
                best, value = row, found
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_diversity_is_maximal_marginal_relevance(strength):
    rng = np.random.default_rng(3)
    columns = CatalogueColumns.from_rows([{"item_id": str(number)} for number in range(60)])
    rules = RuleSet.parse({"rule": [rule(diversity={"strength": strength})]})
    for _ in range(5):
        items = rng.permutation(60)[:40].astype(np.int32)
        scores = np.sort(rng.normal(size=40))[::-1].astype(np.float32)
        vectors = rng.normal(size=(60, 8)).astype(np.float32)
        done = plan(rules, columns, Shopper(), Context(NOW)).apply(items, scores, n=12, vectors=vectors.__getitem__)
        relevance = (scores - scores[-1]) / (scores[0] - scores[-1])
        assert done.items.tolist() == items[_slow_mmr(relevance, vectors[items], strength, 12)].tolist()


@pytest.mark.parametrize("dim", [2, 8])
@pytest.mark.parametrize("strength", [0.5, 0.7, 1.0])
def test_a_product_far_down_is_found_where_it_is_the_most_unlike(strength, dim):
    rng = np.random.default_rng(5)
    columns = CatalogueColumns.from_rows([{"item_id": str(number)} for number in range(300)])
    rules = RuleSet.parse({"rule": [rule(diversity={"strength": strength})]})
    items = rng.permutation(300)[:250].astype(np.int32)
    scores = np.sort(rng.normal(size=250))[::-1].astype(np.float32)
    vectors = np.abs(rng.normal(size=(300, dim))).astype(np.float32)  # alike, but for the last ten
    vectors[items[-10:]] *= -1
    done = plan(rules, columns, Shopper(), Context(NOW)).apply(items, scores, n=25, vectors=vectors.__getitem__)
    relevance = (scores - scores[-1]) / (scores[0] - scores[-1])
    expected = _slow_mmr(relevance, vectors[items], strength, 25)
    assert done.items.tolist() == items[expected].tolist()
    assert max(expected) >= HEAD, "beyond what is looked at first"


def test_padding_and_repeats_are_left_out(columns):
    made = plan(RuleSet(), columns, Shopper(), Context(NOW))
    items, scores = np.asarray([2, 0, 2, 5, -1], np.int32), np.asarray([4, 3, 3, -np.inf, -np.inf], np.float32)
    done = made.apply(items, scores, n=5)
    assert done.items.tolist() == [2, 0]
    assert done.scores.tolist() == [4, 3]


@pytest.mark.parametrize(
    ("items", "scores", "n", "message"),
    [
        ([0, 1], [1.0], 5, "must both be"),
        ([0], [np.nan], 5, "the score at 0 is NaN"),
        ([6], [1.0], 5, "item 6 is not among the 6 products"),
        ([0], [1.0], 0, "at least one place"),
    ],
)
def test_lists_that_are_none(columns, items, scores, n, message):
    made = plan(RuleSet(), columns, Shopper(), Context(NOW))
    with pytest.raises(DataError, match=message):
        made.apply(np.asarray(items, np.int32), np.asarray(scores, np.float32), n=n)


def _random_rules(rng: np.random.Generator) -> list[dict]:
    def some(low, high):
        picked = rng.choice(40, size=rng.integers(low, high), replace=False)
        return [f"i{number}" for number in picked]

    made = []
    for number in range(rng.integers(0, 7)):
        kind = ["boost", "bury", "pin", "cap", "fallback", "diversity", "hide", "keep"][rng.integers(8)]
        action: dict = {
            "boost": lambda: {"items": some(1, 9), **({"factor": 1.5} if rng.random() < 0.5 else {"places": 3})},
            "bury": lambda: {"brands": ["b1"], **({"factor": 3} if rng.random() < 0.5 else {"places": 4})},
            "pin": lambda: {"items": (pins := some(1, 4)), "positions": [1 + 3 * at for at in range(len(pins))]},
            "cap": lambda: {"by": ["brand", "group_id"][rng.integers(2)], "at_most": 2, "top": int(rng.integers(3, 9))},
            "fallback": lambda: {"items": some(1, 9)},
            "diversity": lambda: {"strength": 0.4, "top": 5},
            "hide": lambda: {"brands": ["b2"]},
            "keep": lambda: {"items": some(25, 40)},
        }[kind]()
        made.append({"name": f"r{number}", kind: action})
    return made


def _slow(document, rows, ids, scores, n, vectors, allowed):
    """Arrange as the page says, one product and one place at a time."""
    of = {
        kind: [rule[kind] for rule in document if kind in rule] for kind in ("boost", "bury", "pin", "cap", "fallback")
    }
    strength = next((rule["diversity"] for rule in document if "diversity" in rule), None)

    def meant(action, id_):
        return id_ in action.get("items", [id_]) and rows[id_]["brand"] in action.get("brands", [rows[id_]["brand"]])

    order = [id_ for id_ in ids if id_ in allowed]
    score = dict(zip(ids, scores, strict=True))
    known = [score[id_] for id_ in order]
    worth = {}
    for id_ in order:
        worth[id_] = (score[id_] - min(known)) / (max(known) - min(known)) if max(known) > min(known) else 1.0
        for action in of["boost"]:
            worth[id_] *= action.get("factor", 1) if meant(action, id_) else 1
        for action in of["bury"]:
            worth[id_] /= action.get("factor", 1) if meant(action, id_) else 1
    order.sort(key=lambda id_: -worth[id_])
    falling = [worth[id_] for id_ in order]
    shift = {
        id_: sum(action.get("places", 0) for action in of["bury"] if meant(action, id_))
        - sum(action.get("places", 0) for action in of["boost"] if meant(action, id_))
        for id_ in order
    }
    for id_ in [one for one in order if shift[one] < 0]:
        at = order.index(id_)
        order.remove(id_)
        order.insert(max(0, at + shift[id_]), id_)
    for id_ in [one for one in reversed(order) if shift[one] > 0]:
        at = order.index(id_)
        order.remove(id_)
        order.insert(at + shift[id_], id_)
    worth = dict(zip(order, falling, strict=True))
    pins: dict[int, str] = {}
    for action in of["pin"]:
        for id_, place in zip(action["items"], action["positions"], strict=True):
            while place in pins:
                place += 1
            if id_ in allowed and id_ not in pins.values() and place <= n:
                pins[place] = id_
    spare = [id_ for action in of["fallback"] for id_ in action["items"] if id_ in allowed and id_ not in order]
    shown: list[str] = []

    def open_to(id_, place):
        for cap in of["cap"]:
            top = cap.get("top", n)
            value = rows[id_][cap["by"]]
            there = {*shown[:top], *(pin for at, pin in pins.items() if at <= top)}
            alike = sum(rows[other][cap["by"]] == value for other in there)
            if place <= top and value is not None and alike >= cap["at_most"]:
                return False
        return True

    def like(one, other):
        a, b = vectors[rows[one]["number"]], vectors[rows[other]["number"]]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    largest = max([1.0, *falling])
    for place in range(1, n + 1):
        free = [id_ for id_ in order if id_ not in shown and id_ not in pins.values() and open_to(id_, place)]
        more = [id_ for id_ in spare if id_ not in shown and id_ not in pins.values() and open_to(id_, place)]
        if place in pins:
            shown.append(pins[place])
        elif free and strength and place <= strength["top"]:
            mixed = strength["strength"]
            shown.append(
                max(
                    free,
                    key=lambda id_: (
                        (1 - mixed) * worth[id_] / largest
                        - mixed * max((like(id_, other) for other in shown), default=0.0)
                    ),
                )
            )
        elif free or more:
            shown.append([*free, *more][0])
        else:
            return shown + [pins[at] for at in sorted(pins) if at > place]
    return shown
    return shown


def test_what_holds_for_any_rules():
    rng = np.random.default_rng(11)
    rows = [
        {"item_id": f"i{n}", "brand": f"b{n % 5}", "group_id": None if n % 7 == 0 else f"g{n // 3}"} for n in range(40)
    ]
    columns = CatalogueColumns.from_rows(rows)
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    for _ in range(400):
        document = _random_rules(rng)
        made = plan(RuleSet.parse({"rule": document}), columns, Shopper(), Context(NOW))
        size, n = int(rng.integers(0, 30)), int(rng.integers(1, 13))
        items = rng.permutation(40)[:size].astype(np.int32)
        scores = np.sort(rng.integers(0, 8, size))[::-1].astype(np.float32)
        done = made.apply(items, scores, n=n, vectors=vectors.__getitem__)
        again = made.apply(items, scores, n=n, vectors=vectors.__getitem__)
        shown = done.items.tolist()
        assert columns.ids(done.items) == _slow(
            document,
            {row["item_id"]: {**row, "number": number} for number, row in enumerate(rows)},
            columns.ids(items),
            scores.tolist(),
            n,
            vectors,
            set(columns.ids(np.flatnonzero(made.allowed))),
        )
        assert shown == again.items.tolist()
        assert done.notes == again.notes
        assert len(shown) == len(set(shown)) <= n
        assert made.allowed[shown].all()
        pinned = {item for item, source in zip(shown, done.sources, strict=True) if source == "pinned"}
        caps = [one["cap"] for one in document if "cap" in one]
        for cap in caps:
            column = [rows[item][cap["by"]] for item in shown[: cap["top"]]]
            for value in set(column) - {None}:
                mine = [item for item in shown[: cap["top"]] if rows[item][cap["by"]] == value]
                assert len(mine) <= max(cap["at_most"], len(set(mine) & pinned))
        possible = int(made.allowed[items].sum())
        if not caps:
            spare = {int(i[1:]) for one in document for i in one.get("fallback", {}).get("items", [])}
            spare = {item for item in spare if made.allowed[item]}
            assert len(shown) >= min(n, len(spare | set(items[made.allowed[items]].tolist())))
        assert possible >= done.sources.count("ranked")
        for note in done.notes:
            if note.item >= 0:
                assert note.before == (items.tolist().index(note.item) + 1 if note.item in items else None)
                assert note.after == (shown.index(note.item) + 1 if note.item in shown else None)
        explained = {note.item for note in done.notes}
        kept = [item for item in items.tolist() if made.allowed[item] and item not in explained]
        assert [item for item in shown if item not in explained] == [item for item in kept if item in shown]
