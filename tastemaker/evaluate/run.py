"""Offline evaluation: one protocol, stated in full beside every figure, after the leak tests have passed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tastemaker import guards, probes
from tastemaker.data.variants import in_history
from tastemaker.errors import DataError
from tastemaker.evaluate import cost, measures, trust
from tastemaker.evaluate.fitting import fit
from tastemaker.evaluate.lists import latency, rank_all
from tastemaker.evaluate.outcome import Evaluation
from tastemaker.evaluate.protocol import DEFAULT_KS, Options, Variant
from tastemaker.evaluate.vectors import text_vectors
from tastemaker.metrics import Catalogue, everything, gaps
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tastemaker.data.split import Holdout, Split
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
    catalogue: Catalogue | None = None,
    progress: Progress = silent,
) -> Iterator[Evaluation]:
    """Measure a pipeline under several variants of one split, with as few fits as they need.

    Args:
        pipeline: any pipeline; it is fitted anew.
        split: train, validation and test.
        variants: maskings and refits; all with the ties of `split`.
        seed: of fitting; that of `options` unless it is given.
        options: what is measured.
        source: the shop to learn from, where it is another than the one that is asked (cross-data).
        catalogue: what measures know about items; made from `split.train` if it is not given, with text vectors (for
            diversity) where `options.probe` is set.
        progress: shown over fitting and ranking.

    Yields:
        One evaluation a variant: those fitted on train first, masked before unmasked.

    Raises:
        DataError: the split cannot be fitted or asked.
        ConfigError: a stage cannot rank the catalogue of a shop that it did not learn from.
        LeakError: something of the test part is known before it may be.
    """
    options = options or Options()
    seed = options.seed if seed is None else seed
    noticed = guards.check_all(pipeline, split)
    if catalogue is None:
        catalogue = Catalogue.of(split.train, vectors=text_vectors(split.train.items) if options.probe else None)
    test = split.test if options.sample is None else split.test.sample(options.sample, seed=options.seed)
    groups = measures.groupings(test, split, catalogue, options)
    learnt_from = source or split
    fitted_before = False
    for refit in sorted({variant.refit for variant in variants}):
        started = time.perf_counter()
        if fitted_before:  # choices were made on validation by the fit on train
            pipeline.fit(learnt_from.refit, seed=seed, progress=progress)
        else:
            fit(pipeline, learnt_from, refit=refit, seed=seed, progress=progress)
        fitted_before = True
        notes = [] if source is None else pipeline.transfer(split.train.items)
        fit_seconds = time.perf_counter() - started
        noticed |= guards.check_fitted(pipeline, split, source=source, refit=refit)
        for variant in sorted(one for one in set(variants) if one.refit == refit):
            outcome = _assess(
                pipeline, split, test, variant, options=options, catalogue=catalogue, groups=groups, progress=progress
            )
            outcome.cost["fit_seconds"] = round(fit_seconds, 3)
            outcome.protocol.update(leak_tests=noticed, seed=seed)
            if source is not None:
                outcome.protocol.update(fitted_on_other_data=source.protocol["data_fingerprint"], transfer=notes)
            yield outcome


def _assess(
    pipeline: Pipeline,
    split: Split,
    test: Holdout,
    variant: Variant,
    *,
    options: Options,
    catalogue: Catalogue,
    groups: list[Groups],
    progress: Progress,
) -> Evaluation:
    """Rank and measure one variant of a fitted pipeline."""
    if not len(test):
        raise DataError("the test part has no question; use another split or more data")
    k = min(options.longest, split.train.n_items)
    before, counts = cost.usages(pipeline), probes.counts_of(pipeline)
    lists = rank_all(pipeline, test, k, masking=variant.masking, progress=progress)
    spent = cost.since(before, cost.usages(pipeline))
    trusted: dict[str, Any] = {
        "lists": trust.audit(pipeline, lists, test, variant=variant),
        "language_model": trust.language_models(pipeline, test, counts, options=options),
    }
    found = everything(lists.final, test, catalogue, options.ks, seed=options.seed)
    slices = measures.slices(found, groups, options)
    spending: dict[str, Any] = {
        "rank_seconds": round(lists.seconds, 3),
        "stage_seconds": [round(seconds, 3) for seconds in lists.stage_seconds],
        "language_models": cost.usages(pipeline),
        "peak_mib": cost.peak_mib(),
        "per_1000_requests": cost.per_1000_requests(lists, spent, len(test), price=options.price),
    }
    trusted["reasons"] = trust.reasons(pipeline, test, options=options)
    cold_start: list[dict[str, Any]] = []
    if options.probe:
        spending["latency_ms"] = latency(pipeline, test.queries, k, masking=variant.masking, seed=options.seed)
        if not before:  # a language model would be asked thousands of times
            cold_start = measures.cold_start(pipeline, test, options, masking=variant.masking, progress=progress)
    return Evaluation(
        protocol={
            **_protocol(split, test, variant, options),
            **split.protocol,
            **_fallback(pipeline, lists.short),
            "measures": list(found.notes),
        },
        metrics=found.summary,
        slices=slices,
        gaps=gaps(slices, options.measure),
        curves=found.curves,
        cold_start=cold_start,
        stages=measures.of_stages(pipeline, lists, test, options),
        trust=trusted,
        cost=spending,
        variant=variant,
        per_query=found.per_query,
        lists=lists.final,
    )


def _protocol(split: Split, test: Holdout, variant: Variant, options: Options) -> dict[str, Any]:
    """Say every choice that moves the figures."""
    sampled = options.sample is not None and options.sample < len(split.test)
    return {
        "items_ranked": "all",
        "history_masked": variant.masking,
        "fitted_on": "train + validation" if variant.refit else "train",
        "history_at_test": "train + validation",
        "order_of_ties": "file",
        "order_of_equal_scores": "lower item number first",
        "test_queries": len(test),
        "test_queries_available": len(split.test),
        "sample": "random, by seed" if sampled else None,
        "targets_in_history": int(in_history(test).sum()),
        "repeated_targets": "counted; a masked list can never hit them" if variant.masking else "counted",
        "interval": "95 % percentile bootstrap over queries, 1,000 resamples",
    }


def _fallback(pipeline: Pipeline, short: int) -> dict[str, Any]:
    name = pipeline.fallback.name if pipeline.fallback else None
    return {"fallback": name, "fallback_rows": short if name else 0}
