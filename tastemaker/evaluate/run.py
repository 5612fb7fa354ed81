"""Offline evaluation: one protocol, stated in full beside every figure, after the leak tests have passed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tastemaker import guards, probes
from tastemaker.errors import ConfigError, DataError
from tastemaker.evaluate import cost, measures, trust
from tastemaker.evaluate.fitting import AGAIN, fit, fit_again
from tastemaker.evaluate.lists import rank_all
from tastemaker.evaluate.outcome import Evaluation
from tastemaker.evaluate.protocol import DEFAULT_KS, Options, Variant, choices_of, stated
from tastemaker.evaluate.vectors import text_vectors
from tastemaker.metrics import Catalogue, everything, gaps
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tastemaker.data.splits import Holdout, Split
    from tastemaker.evaluate.adapting import Adaptation
    from tastemaker.metrics import Groups
    from tastemaker.pipeline import Pipeline


def evaluate(
    pipeline: Pipeline,
    split: Split,
    *,
    ks: tuple[int, ...] = DEFAULT_KS,
    masking: bool = True,
    refit: bool = False,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Fit a pipeline on train and measure it on test, ranking every item of the catalogue.

    Args:
        pipeline: any pipeline, fitted or not; it is fitted anew.
        split: train, validation and test.
        ks: list lengths.
        masking: whether items of the history are left out of the lists.
        refit: whether the last fit is on train + validation.
        sample: evaluate this many random test queries instead of all.
        seed: of fitting, sampling and bootstrap.
        progress: shown over fitting and ranking.

    Raises:
        DataError: the split cannot be fitted or asked.
        LeakError: something of the test part is known before it may be.
    """
    options = Options(ks=ks, sample=sample, seed=seed)
    variant = Variant(refit=refit, masking=masking, ties=split.protocol.get("ties", "file"))
    return next(evaluate_variants(pipeline, split, [variant], options=options, progress=progress))


def evaluate_variants(
    pipeline: Pipeline,
    split: Split,
    variants: Sequence[Variant],
    *,
    seed: int | None = None,
    options: Options | None = None,
    source: Split | None = None,
    adapt: Adaptation | None = None,
    catalogue: Catalogue | None = None,
    progress: Progress = silent,
) -> Iterator[Evaluation]:
    """Measure a pipeline under several variants of one split, with as few fits as they need.

    Args:
        pipeline: any pipeline; it is fitted anew, unless `adapt` says that it learnt elsewhere.
        split: train, validation and test.
        variants: maskings and refits; all with the ties of `split`.
        seed: of fitting; that of `options` unless it is given.
        options: what is measured.
        source: the shop to learn from, where it is another than the one that is asked (cross-data).
        adapt: how a pipeline that was fitted before comes to rank this shop.
        catalogue: what measures know about items, made from `split.train`; if it is not given, with text vectors (for
            diversity) where `options.probe` is set. Refit variants get one of `split.refit`, with the same vectors.
        progress: shown over fitting and ranking.

    Yields:
        One evaluation a variant: those fitted on train first, masked before unmasked.

    Raises:
        DataError: the split cannot be fitted or asked.
        ConfigError: a stage cannot rank the catalogue of a shop that it did not learn from, or a saved model is to be
            refitted.
        LeakError: something of the test part is known before it may be.
    """
    if adapt is not None and any(variant.refit for variant in variants):
        raise ConfigError("refit: a saved model is measured as it is; measure its configuration to refit it")
    options = options or Options()
    seed = options.seed if seed is None else seed
    noticed = guards.check_all(pipeline, split)
    if source is not None:
        guards.check_other_shop(source, split)
    test = split.test if options.sample is None else split.test.sample(options.sample, seed=options.seed)
    if not len(test):
        raise DataError("the test part has no question; use another split or more data")
    if catalogue is None:
        catalogue = Catalogue.of(split.train, vectors=text_vectors(split.train.items) if options.probe else None)
    shop = Shop(split, test, catalogue, measures.groupings(test, split, catalogue, options))
    learnt_from = source or split
    chooses = pipeline.wants_calibration or pipeline.stops_early
    choices = choices_of(pipeline, learnt_from.validation)
    seconds: dict[str, float] = {}
    fitting: cost.Usages = []
    tried: trust.Tried | None = None
    for refit in sorted({variant.refit for variant in variants}):
        before = cost.usages(pipeline)
        aids = Aids(device=options.device)
        work: dict[str, Any] = {"aids": aids, "seed": seed, "progress": progress, "seconds": seconds}
        facts: dict[str, Any] = {}
        if adapt is not None:
            facts = adapt.apply(pipeline, split, **work)
        elif seconds:  # choices were made on validation by the fit on train
            noticed |= fit_again(pipeline, learnt_from, **work)
        else:
            noticed |= fit(pipeline, learnt_from, refit=refit, **work)
        steps = seconds if chooses or not refit else {AGAIN: seconds[AGAIN]}
        if source is not None:
            notes = pipeline.transfer(split.train.items)
            noticed |= guards.check_fitted(pipeline, split, source=source, refit=refit)
            facts = {"fitted_on_other_data": source.protocol["data_fingerprint"], "transfer": notes}
        fitting += cost.labelled("fitting and choosing", cost.since(before, cost.usages(pipeline)))
        if refit:
            shop = shop.after_refit(options)
        for variant in sorted(one for one in set(variants) if one.refit == refit):
            said = stated(split, test, variant, options, seed=seed, choices=choices, source=source) | facts
            outcome, tried = _assess(
                pipeline, shop, variant, options=options, said=said, tried=tried, progress=progress
            )
            outcome.cost["fit_seconds"] = round(sum(steps.values()), 3)
            outcome.cost["fit_steps"] = {step: round(taken, 3) for step, taken in steps.items()}
            outcome.cost["language_models"][:0] = fitting
            outcome.protocol["leak_tests"] = dict(noticed)
            yield outcome


@dataclass(frozen=True, slots=True)
class Shop:
    """What is asked and what the measures know of it, the same for all variants that learnt from the same part.

    Attributes:
        split: train, validation and test.
        test: the questions.
        catalogue: popularity and more of the products.
        groups: ways to group the questions.
    """

    split: Split
    test: Holdout
    catalogue: Catalogue
    groups: list[Groups]

    def after_refit(self, options: Options) -> Shop:
        """Return the same with popularity and age of products as train + validation have them."""
        catalogue = Catalogue.of(self.split.refit, vectors=self.catalogue.vectors)
        groups = measures.groupings(self.test, self.split, catalogue, options, refit=True)
        return replace(self, catalogue=catalogue, groups=groups)


def _assess(
    pipeline: Pipeline,
    shop: Shop,
    variant: Variant,
    *,
    options: Options,
    said: dict[str, Any],
    tried: trust.Tried | None,
    progress: Progress,
) -> tuple[Evaluation, trust.Tried | None]:
    """Rank and measure one variant of a fitted pipeline.

    Args:
        pipeline: fitted as the variant wants it.
        shop: what is asked.
        variant: masking, refit and ties.
        options: what is measured.
        said: the choices that move the figures.
        tried: what was tried out before; it is not tried out again.
        progress: shown over ranking.
    """
    test = shop.test
    k = min(options.longest, shop.split.train.n_items)
    asked, counts = cost.usages(pipeline), probes.counts_of(pipeline)
    lists = rank_all(pipeline, test, k, masking=variant.masking, progress=progress)
    spent = cost.since(asked, cost.usages(pipeline))
    counted = probes.counts_since(pipeline, counts)
    answers = probes.language_models(pipeline, len(test), since=counts)
    stages = measures.of_stages(pipeline, lists, test, options, counts=counted)
    found = everything(lists.final, test, shop.catalogue, options.ks, seed=options.seed)
    slices = measures.slices(found, shop.groups, options)
    per_1000 = cost.per_1000_requests(lists, spent, len(test))
    spending: dict[str, Any] = {
        "rank_seconds": round(lists.seconds, 3),
        "stage_seconds": [round(seconds, 3) for seconds in lists.stage_seconds],
        "language_models": cost.labelled("ranking", spent),
        "per_1000_requests": {**per_1000, "money": cost.money(per_1000, options.price)},
    }
    trusted: dict[str, Any] = {"lists": trust.audit(pipeline, lists, test, variant=variant), "reasons": None}
    cold_start: list[dict[str, Any]] = []
    if options.probe:
        asks_model = bool(spent) or any(counted.values())
        if tried is None:
            tried = trust.try_out(pipeline, lists, test, variant=variant, options=options, asks_model=asks_model)
            spending["language_models"] += cost.labelled("probes", tried.spent)
        spending["latency_ms"] = tried.latency_ms
        trusted |= {"reasons": tried.reasons, "sensitivity": tried.sensitivity, "probed_under": tried.variant}
        for one in answers:
            if one["stage"] in tried.steadiness:
                one["order sensitivity"] = tried.steadiness[one["stage"]]
        if not asks_model:  # it would be asked thousands of times
            cold_start = measures.cold_start(pipeline, test, options, masking=variant.masking, progress=progress)
    fallback = pipeline.fallback.name if pipeline.fallback else None
    return Evaluation(
        protocol={
            **said,
            "fallback": fallback,
            "fallback_rows": lists.short if fallback else 0,
            "measures": list(found.notes),
        },
        metrics=found.summary,
        slices=slices,
        gaps=gaps(options.measure, found.values[options.measure], shop.groups, seed=options.seed),
        curves=found.curves,
        cold_start=cold_start,
        stages=stages,
        trust=trusted | {"language_model": answers},
        cost=spending | {"peak_mib": cost.peak_mib()},
        variant=variant,
        per_query=found.per_query,
        ratios=found.ratios,
        lists=lists.final,
    ), tried
