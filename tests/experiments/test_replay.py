"""Replay: on a simulated shop whose every value is known, estimates are right on average and their intervals cover."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tastemaker.errors import DataError
from tastemaker.experiments.attribution import attribute
from tastemaker.experiments.exploring import explore
from tastemaker.experiments.records import Event, Impression
from tastemaker.experiments.replay import Logged, replay
from tastemaker.experiments.replaying import Target, logged_places
from tastemaker.json_values import finite

PLACES, TOP, EPSILON = 3, 4, 0.6
LOOKED_AT = np.asarray([1.0, 0.6, 0.4])
"""How probably a shopper looks at a place (position bias)."""
APPEAL = np.random.default_rng(12).beta(2, 5, (2, 6))
"""How probably a shopper of either taste clicks each of six products that they look at."""
LOGGING = np.asarray([0, 1, 2, 3, 4, 5])
"""The ranking that was in force, for everyone."""
BETTER = np.stack([LOGGING[:TOP][np.argsort(-APPEAL[taste, :TOP], kind="stable")] for taste in range(2)])
"""The policy in question: the four products that could be shown, by taste."""


def value(policy) -> float:
    """Clicks a list of a policy earns: exactly, over both tastes."""
    return float(np.mean([(APPEAL[taste, policy[taste][:PLACES]] * LOOKED_AT).sum() for taste in range(2)]))


def simulate(rng, shoppers, *, policy=BETTER, model=None):
    """Lists that the exploring policy showed, with what `policy` would have done."""
    tastes = np.repeat(rng.integers(0, 2, shoppers), 2)
    lists = len(tastes)
    order = np.tile(LOGGING, (lists, 1))
    shuffled = rng.random(lists) < EPSILON
    order[shuffled, :TOP] = rng.permuted(order[shuffled, :TOP], axis=1)
    shown = order[:, :PLACES]
    clicks = rng.random((lists, PLACES)) < APPEAL[tastes[:, None], shown] * LOOKED_AT
    own = shown == LOGGING[:PLACES]
    wanted = policy[tastes][:, :PLACES]
    more = {}
    if model is not None:
        more = {
            "predicted": (model[tastes[:, None], shown] * LOOKED_AT).ravel(),
            "expected": (model[tastes[:, None], wanted] * LOOKED_AT).ravel(),
        }
    return Logged(
        shoppers=np.repeat(np.arange(lists) // 2, PLACES),
        lists=np.repeat(np.arange(lists), PLACES),
        places=np.tile(np.arange(PLACES), lists),
        rewards=clicks.ravel().astype(float),
        propensities=(EPSILON / TOP + (1 - EPSILON) * own).ravel(),
        targets=(shown == wanted).ravel().astype(float),
        **more,
    )


def test_estimates_are_right_on_average_and_their_intervals_cover():
    rng = np.random.default_rng(0)
    truth, logged = value(BETTER), value(np.tile(LOGGING, (2, 1)))
    explored = (1 - EPSILON) * logged + EPSILON * float(APPEAL[:, :TOP].mean() * LOOKED_AT.sum())
    runs = 250
    found = [replay(simulate(rng, 200, model=APPEAL), seed=run, resamples=200) for run in range(runs)]
    assert truth > 1.1 * explored
    for name in ("ips", "snips", "dr"):
        values = np.asarray([one.estimates[name].value for one in found])
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / runs**0.5 + 0.003), name
        for of, right in (("estimates", truth), ("gains", truth - explored)):
            covered = np.mean([getattr(one, of)[name].low <= right <= getattr(one, of)[name].high for one in found])
            assert 0.9 <= covered <= 0.985, (name, of)
    assert np.mean([one.logged.low <= explored <= one.logged.high for one in found]) >= 0.9
    assert np.mean([one.mean_weight.low <= 1 <= one.mean_weight.high for one in found]) >= 0.9
    spread = {name: np.std([one.estimates[name].value for one in found]) for name in ("ips", "dr")}
    assert spread["dr"] < 0.9 * spread["ips"]  # a good model takes variance away


def test_a_wrong_model_does_not_mislead_the_doubly_robust_estimate():
    rng = np.random.default_rng(1)
    wrong = 1 - APPEAL
    values = [replay(simulate(rng, 300, model=wrong), resamples=2).estimates["dr"].value for _ in range(200)]
    assert np.mean(values) == pytest.approx(value(BETTER), abs=4 * np.std(values) / 200**0.5)
    direct = simulate(rng, 3000, model=wrong).expected.reshape(-1, PLACES).sum(axis=1).mean()
    assert abs(direct - value(BETTER)) > 0.3  # which the model alone does


def test_counting_what_happens_to_agree_is_wrong():
    """Without propensities, shoppers for whom both policies agree anyway count for too much."""
    half = np.stack([LOGGING[:TOP], BETTER[1]])
    logged = simulate(np.random.default_rng(2), 120_000, policy=half)
    agree = logged.targets == 1
    naive = sum(logged.rewards[agree & (logged.places == place)].mean() for place in range(PLACES))
    error = abs(replay(logged, resamples=2).estimates["ips"].value - value(half))
    assert abs(naive - value(half)) > 0.02
    assert error < 0.007


def test_the_logging_policy_earns_what_was_logged():
    rng = np.random.default_rng(3)
    made = simulate(rng, 300)
    same = Logged(**{**vars(made), "targets": made.propensities})
    found = replay(same)
    assert found.estimates["ips"].value == pytest.approx(found.logged.value)
    assert found.estimates["snips"].value == pytest.approx(found.logged.value)
    assert found.gains["ips"].low == pytest.approx(0, abs=1e-9)
    assert found.effective == pytest.approx(len(made.rewards))


def test_products_that_could_not_be_logged_are_noticed():
    unseen = np.tile([4, 5, 0, 1, 2, 3], (2, 1))
    found = replay(simulate(np.random.default_rng(4), 1000, policy=unseen), resamples=200)
    assert found.mean_weight.high < 1
    assert "shows products that the log could not" in found.notes[0]


def test_too_small_propensities_are_noticed():
    made = simulate(np.random.default_rng(5), 1000)
    found = replay(Logged(**{**vars(made), "propensities": made.propensities / 2}), resamples=200)
    assert "check them" in found.notes[0]


def test_clipping_bounds_weights_and_says_so():
    made = simulate(np.random.default_rng(6), 500)
    found = replay(made, clip=2.0, resamples=50)
    assert found.largest_weight == 2
    assert 0 < found.clipped < 1
    assert any("clipped" in note for note in found.notes)
    assert found.estimates["ips"].value < replay(made, resamples=50).estimates["ips"].value
    json.dumps(finite(found.to_dict()), allow_nan=False)


def test_ips_and_snips_by_hand():
    """Two lists of two: weights 2, 0 and .5, 1; rewards 1, 1 and 0, 3."""
    made = Logged(
        shoppers=np.asarray([0, 0, 1, 1]),
        lists=np.asarray([0, 0, 1, 1]),
        places=np.asarray([0, 1, 0, 1]),
        rewards=np.asarray([1.0, 1.0, 0.0, 3.0]),
        propensities=np.asarray([0.5, 0.5, 0.8, 1.0]),
        targets=np.asarray([1.0, 0.0, 0.4, 1.0]),
        predicted=np.asarray([0.5, 0.5, 0.5, 1.0]),
        expected=np.asarray([0.2, 0.3, 0.4, 0.5]),
    )
    found = replay(made, resamples=20)
    assert found.logged.value == 2.5
    assert found.estimates["ips"].value == pytest.approx((2 + 3) / 2)
    assert found.estimates["snips"].value == pytest.approx(2 / 2.5 + 3 / 1)
    assert found.estimates["dr"].value == pytest.approx((0.2 + 2 * 0.5 + 0.3 + 0.4 - 0.5 * 0.5 + 0.5 + 2) / 2)
    assert found.effective == pytest.approx(3.5**2 / 5.25)
    assert (found.lists, found.shoppers) == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensities": np.asarray([0.0])}, r"propensity 0.0 at row 0"),
        ({"propensities": np.asarray([1.5])}, r"propensity 1.5"),
        ({"targets": np.asarray([-1.0])}, "targets are probabilities"),
        ({"rewards": np.asarray([np.nan])}, "rewards hold NaN"),
        ({"rewards": np.asarray([1.0, 2.0])}, "different lengths"),
        ({"predicted": np.asarray([1.0])}, "both predicted and expected"),
    ],
)
def test_logs_that_are_none(change, message):
    good = {
        **{name: np.asarray([0]) for name in ("shoppers", "lists", "places")},
        **{name: np.asarray([0.5]) for name in ("rewards", "propensities", "targets")},
    }
    with pytest.raises(DataError, match=message):
        Logged(**{**good, **change})


def test_exploration_says_how_probable_each_place_was():
    items = list("abcdef")
    counts: dict[tuple[str, int], int] = {}
    claimed: dict[tuple[str, int], float] = {}
    draws = 6000
    for draw in range(draws):
        shown, chances = explore(items, 4, top=5, epsilon=0.5, key=str(draw), fixed=[1])
        assert len(set(shown)) == 4
        assert shown[1] == "b"
        for place, (item, chance) in enumerate(zip(shown, chances, strict=True)):
            counts[item, place] = counts.get((item, place), 0) + 1
            assert claimed.setdefault((item, place), chance) == chance
    assert claimed["a", 0] == 0.5 + 0.5 / 4
    assert claimed["e", 0] == 0.5 / 4
    assert claimed["b", 1] == 1
    for cell, chance in claimed.items():
        assert counts[cell] / draws == pytest.approx(chance, abs=4.5 * (chance * (1 - chance) / draws) ** 0.5)
    assert explore(items, 4, top=5, epsilon=0.5, key="x") == explore(items, 4, top=5, epsilon=0.5, key="x")


def test_exploration_may_be_off():
    assert explore("abc", 2, top=3, epsilon=0, key="x") == (["a", "b"], [1.0, 1.0])
    assert explore("abc", 9, top=1, epsilon=1, key="x") == (["a", "b", "c"], [1.0, 1.0, 1.0])
    assert explore([], 3, top=3, epsilon=1, key="x") == ([], [])
    with pytest.raises(DataError, match="epsilon 2"):
        explore("abc", 2, top=3, epsilon=2, key="x")


def records(rng, shoppers):
    """The same shop as records of a log, with the lists of the policy in question."""
    impressions, events, targets = [], [], []
    for shopper in range(shoppers):
        taste = int(rng.integers(2))
        for turn in range(2):
            request = f"{shopper}-{turn}"
            shown, chances = explore(LOGGING.tolist(), PLACES, top=TOP, epsilon=EPSILON, key=request)
            user = f"u{shopper}"
            impressions.append(
                Impression(
                    request_id=request,
                    timestamp=turn,
                    user_id=user,
                    item_ids=tuple(f"i{item}" for item in shown),
                    propensities=tuple(chances),
                )
            )
            targets.append(Target(request_id=request, item_ids=tuple(f"i{item}" for item in BETTER[taste])))
            for place, item in enumerate(shown):
                if rng.random() < APPEAL[taste, item] * LOOKED_AT[place]:
                    common = {"user_id": user, "item_id": f"i{item}", "request_id": request, "timestamp": turn + 5}
                    events.append(Event(event_id=f"c{request}-{item}", event_type="click", **common))
                    events.append(Event(event_id=f"p{request}-{item}", event_type="purchase", value=10.0, **common))
    return impressions, events, targets


def test_from_records_to_estimates():
    rng = np.random.default_rng(8)
    impressions, events, targets = records(rng, 1500)
    attributed = attribute(impressions, events)
    made, left_out = logged_places(impressions, attributed, targets)
    assert left_out == 0
    found = replay(made, resamples=200)
    for name in ("ips", "snips", "dr"):
        assert found.estimates[name].low <= value(BETTER) <= found.estimates[name].high
    width = {name: found.estimates[name].high - found.estimates[name].low for name in ("ips", "dr")}
    assert width["dr"] < width["ips"]
    revenue = replay(logged_places(impressions, attributed, targets, reward="revenue")[0], resamples=2)
    assert revenue.estimates["ips"].value == pytest.approx(10 * found.estimates["ips"].value)
    bought = replay(logged_places(impressions, attributed, targets, reward="purchase")[0], resamples=2)
    assert bought.logged.value == pytest.approx(found.logged.value)


def test_probabilities_and_a_model_of_the_callers_own():
    impressions, events, _ = records(np.random.default_rng(9), 50)
    attributed = attribute(impressions, events)
    targets = [Target(request_id=one.request_id, probabilities=one.propensities) for one in impressions[:60]]
    made, left_out = logged_places(impressions, attributed, targets)
    assert left_out == 40
    assert made.predicted is None
    found = replay(made, resamples=20)
    assert found.estimates["ips"].value == pytest.approx(found.logged.value)
    own = [
        Target(request_id=one.request_id, probabilities=one.propensities, predicted=(0.1,) * 3, expected=(0.1,) * 3)
        for one in impressions
    ]
    made, _ = logged_places(impressions, attributed, own)
    assert replay(made, resamples=20).estimates["dr"].value == pytest.approx(replay(made, resamples=20).logged.value)


def test_the_models_of_a_shopper_know_nothing_of_them():
    impressions, events, targets = records(np.random.default_rng(10), 40)
    one = events[0].user_id
    others = [event for event in events if event.user_id != one]
    made, _ = logged_places(impressions, attribute(impressions, events), targets)
    without, _ = logged_places(impressions, attribute(impressions, others), targets)
    mine = made.shoppers == int(one[1:])
    assert (made.rewards[mine] != without.rewards[mine]).any()
    np.testing.assert_array_equal(made.predicted[mine], without.predicted[mine])
    np.testing.assert_array_equal(made.expected[mine], without.expected[mine])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"request_id": "0-0", "probabilities": (0.5,)}, "list '0-0' has 3 products but 1 probabilities"),
        ({"request_id": "nowhere", "item_ids": ("a",)}, "no list has both propensities and a target"),
    ],
)
def test_targets_that_do_not_fit(target, message):
    impressions, events, _ = records(np.random.default_rng(11), 3)
    with pytest.raises(DataError, match=message):
        logged_places(impressions, attribute(impressions, events), [Target(**target)])


def test_a_shorter_list_shows_nothing_below():
    impressions, events, _ = records(np.random.default_rng(12), 20)
    targets = [Target(request_id=one.request_id, item_ids=one.item_ids[:1]) for one in impressions]
    made, _ = logged_places(impressions, attribute(impressions, events), targets)
    assert made.targets[made.places > 0].max() == 0
    assert made.expected[made.places > 0].max() == 0
