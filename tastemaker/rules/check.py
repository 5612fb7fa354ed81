"""What a rule document does to a catalogue: how many products each rule touches, and what it probably did not mean."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.rules.asking import Context, Shopper
from tastemaker.rules.filters import FILTERS
from tastemaker.rules.planning import compile_rules
from tastemaker.rules.schema import AlreadyBought, Cap, Diversity, Fallback, Keep, MinimumAge, Pin, Region, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.rules.columns import CatalogueColumns
    from tastemaker.rules.document import Rule, RuleSet
    from tastemaker.rules.planning import CompiledRules, Ready
    from tastemaker.rules.schema import Matching, When
    from tastemaker.types import Bool

NAMED = 3
"""Values that one warning names."""


@dataclass(frozen=True, slots=True)
class Touched:
    """One rule, seen from a catalogue.

    Attributes:
        rule: its name.
        kind: its action.
        holds: when, in words.
        products: how many it speaks of; None where that depends on the shopper or on the list.
        hides: how many it forbids to a shopper of whom nothing is known, while it holds; None for what is no filter.
        warnings: what it probably did not mean.
    """

    rule: str
    kind: str
    holds: str
    products: int | None
    hides: int | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule document, seen from a catalogue.

    Attributes:
        rules: one a rule, in the order of the document.
        products: size of the catalogue.
        allowed: how many products a shopper of whom nothing is known may be shown, anywhere in the shop.
        warnings: what concerns the document as a whole.
    """

    rules: tuple[Touched, ...]
    products: int
    allowed: int
    warnings: tuple[str, ...]


def check(rules: RuleSet, columns: CatalogueColumns, *, now: int) -> Checked:
    """Say what rules do to a catalogue.

    Args:
        rules: the document.
        columns: the catalogue.
        now: milliseconds UTC; for rules that are over, and products that are new.
    """
    compiled = compile_rules(rules, columns)
    ready = {one.rule.name: one for one in compiled.ready}
    touched = tuple(_touched(rule, ready.get(rule.name), compiled, now) for rule in rules.rules)
    plan = compiled.plan(Shopper(), Context(now))
    allowed = int(np.count_nonzero(plan.allowed))
    warnings = []
    if not allowed and len(columns):
        causes = ", ".join(f"'{name}' hides {count:,}" for name, count in plan.suppressed().items())
        warnings.append(f"no product is left for a shopper of whom nothing is known: {causes}")
    return Checked(touched, len(columns), allowed, tuple(warnings))


def _touched(rule: Rule, ready: Ready | None, compiled: CompiledRules, now: int) -> Touched:
    if ready is None:
        return Touched(rule.name, rule.kind, "never: enabled = false", None, None, ())
    columns, action = compiled.columns, rule.action
    products: int | None = None
    hides: int | None = None
    warnings = list(_about_time(rule, ready, now))
    if ready.filter is not None:
        forbidden = ready.filter.forbidden(Shopper(), Context(now))
        hides = int(np.count_nonzero(forbidden))
        if rule.kind in ("keep", "hide"):
            products = len(columns) - hides if isinstance(action, Keep) else hides
    if ready.chosen is not None:
        products = int(np.count_nonzero(ready.chosen.at(now)))
    if isinstance(action, Selection):
        warnings += _about_values(action, columns)
    if isinstance(action, MinimumAge | Region | AlreadyBought | Cap):
        warnings += _about_columns(action, columns)
    if isinstance(action, Pin | Fallback):
        products = sum(item >= 0 for item in ready.items)
        warnings += _about_ids(action.items, columns)
        warnings += _about_hidden(ready, compiled, now)
    if isinstance(action, Cap):
        products = int(np.count_nonzero(ready.codes >= 0)) if ready.codes is not None else 0
    if isinstance(action, Diversity):
        first = next(one.rule.name for one in compiled.ready if isinstance(one.rule.action, Diversity))
        if first != rule.name:
            warnings.append(f"where '{first}' holds as well, that one counts")
    for moments in (ready.when, ready.unless):
        if moments is not None and moments.when.context is not None:
            warnings += [f"context: {said}" for said in _about_values(moments.when.context, columns)]
    if products == 0 and not warnings:
        warnings.append("no product fits")
    return Touched(rule.name, rule.kind, _holds(rule), products, hides, tuple(warnings))


def _about_time(rule: Rule, ready: Ready, now: int) -> Iterator[str]:
    when = ready.when
    if when is None or when.until is None:
        return
    if when.since is not None and when.since >= when.until:
        yield "can never hold: it ends before it begins"
    elif when.until <= now:
        yield f"is over since {rule.when.until if rule.when else ''}; remove it"


def _about_values(selection: Matching, columns: CatalogueColumns) -> Iterator[str]:
    if selection.items is not None:
        yield from _about_ids(selection.items, columns)
    currency = selection.price.currency if selection.price else None
    named = {
        "brand": selection.brands,
        "categories": selection.categories,
        "group_id": selection.groups,
        "availability": selection.availability,
        "currency": (currency,) if currency else None,
        **{name: wanted.values or () for name, wanted in selection.attributes.items()},
        **({"price": ()} if selection.price else {}),
        **({"created_at": ()} if selection.newer_than_days else {}),
    }
    for name, values in named.items():
        if values is None:
            continue
        if not columns.has(name):
            yield f"the catalogue has no column '{name}'; it has {', '.join(columns.names)}"
            continue
        if name in ("price", "created_at") and np.isnan(columns.times(name)).all():
            yield f"no product has a {name}"
        index = columns.index(name)
        unknown = [value for value in values if value not in index.slots]
        for value in unknown[:NAMED]:
            close = get_close_matches(value, index.slots, n=1)
            hint = f"; did you mean '{index.written[index.slots[close[0]]]}'?" if close else ""
            yield f"no product has {name} '{value}'{hint}"
        if len(unknown) > NAMED:
            yield f"and {len(unknown) - NAMED:,} more values of {name} that no product has"
    if isinstance(selection, Selection) and selection.but_not is not None:
        yield from (f"but_not: {said}" for said in _about_values(selection.but_not, columns))


def _about_ids(ids: tuple[str, ...], columns: CatalogueColumns) -> Iterator[str]:
    unknown = [id_ for id_, number in zip(ids, columns.numbers(ids), strict=True) if number < 0]
    for id_ in unknown[:NAMED]:
        close = get_close_matches(id_, columns.frame["id"].to_list(), n=1, cutoff=0.8)
        yield f"no product has the id '{id_}'" + (f"; did you mean '{close[0]}'?" if close else "")
    if len(unknown) > NAMED:
        yield f"and {len(unknown) - NAMED:,} more ids that no product has"


def _about_columns(action: MinimumAge | Region | AlreadyBought | Cap, columns: CatalogueColumns) -> Iterator[str]:
    match action:
        case Cap(by=name) | AlreadyBought(same=name) | Region(column=name):
            pass
        case MinimumAge(column=name):
            if name is not None and columns.has(name) and np.isnan(columns.amounts(name)).all():
                yield f"no product has a number in column '{name}'"
    if name is not None and not columns.has(name):
        yield f"the catalogue has no column '{name}'; it has {', '.join(columns.names)}"


def _about_hidden(ready: Ready, compiled: CompiledRules, now: int) -> Iterator[str]:
    """Name products that a filter which always holds keeps from being shown."""
    causes: list[tuple[str, Bool]] = [("hidden product", compiled.hidden)]
    for one in compiled.ready:
        if one.rule.kind in FILTERS and one.always and one.filter is not None and one.filter.fixed is not None:
            causes.append((one.rule.name, one.filter.fixed))
    for item in ready.items:
        cause = next((name for name, forbidden in causes if item >= 0 and forbidden[item]), None)
        if cause is not None:
            yield f"'{compiled.columns.ids([item])[0]}' will not be shown: '{cause}' hides it"


def _holds(rule: Rule) -> str:
    said = [words for words in (_said(rule.when), f"not {_said(rule.unless)}" if rule.unless else "") if words]
    return "; ".join(said) or "always"


def _said(when: When | None) -> str:
    if when is None:
        return ""
    said = [f"in {', '.join(when.strategies)}"] if when.strategies else []
    for name, wanted in when.user.items():
        low = f" from {wanted.min:g}" if wanted.min is not None else ""
        high = f" to {wanted.max:g}" if wanted.max is not None else ""
        said.append(f"{name}{low}{high}" if wanted.values is None else f"{name} is {' or '.join(wanted.values)}")
    said += [f"since {when.since}"] if when.since else []
    said += [f"until {when.until}"] if when.until else []
    said += ["beside certain products"] if when.context else []
    said += [f"in variant {' or '.join(wanted)} of {name}" for name, wanted in when.variants.items()]
    return ", ".join(said)
