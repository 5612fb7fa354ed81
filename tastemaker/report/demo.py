"""The page of `tastemaker demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.report.templating import page

if TYPE_CHECKING:
    from tastemaker.demo import Demo


def demo_page(demo: Demo) -> str:
    """Return the demo as one HTML page; every text is escaped."""
    top = max((row["ndcg@10"]["high"] or 0.0 for row in demo.comparison), default=0.0) or 1.0
    return page("demo.html", demo=demo, top=top, verdict=verdict(demo.pipeline_report))


def verdict(report: dict[str, Any], *, model: str = "No language model") -> str:
    """Say in one or two sentences what was chosen on validation: what a re-ranker may say, or a model's exponent.

    Args:
        report: of a stage that makes such a choice; empty where there is none.
        model: who is meant where the report names no language model.
    """
    if not report:
        return "No language model took part."
    trials = report["chosen_on_validation"]
    model = (report.get("language_model") or {}).get("name", model)
    if "weight" not in report:
        return _exponent(report, model)
    weight = report["weight"]
    if not trials:
        return f"{model} takes part with the configured weight {weight}."
    best = max(trials, key=lambda trial: trial["gain"])
    if weight == 0:
        whole = next(trial for trial in trials if trial["weight"] == 1.0)
        return (
            f"{model} was switched off: on validation no weight helped by more than 2.8 standard errors. "
            f"At full weight it changed NDCG@10 by {whole['gain']:+.4f} "
            f"(standard error {whole['standard_error']:.4f}); "
            f"the best weight, {best['weight']}, by {best['gain']:+.4f} (standard error {best['standard_error']:.4f})."
        )
    return (
        f"{model} takes part with weight {weight}, which changed NDCG@10 on validation by {best['gain']:+.4f} "
        f"(standard error {best['standard_error']:.4f}). Failures keep the retriever's order."
    )


def _exponent(report: dict[str, Any], model: str) -> str:
    """Say with which exponent products are weighted, beside the titles that a model writes."""
    gamma, trials = report["gamma"], report["chosen_on_validation"]
    if not trials:
        return f"{model} writes titles; products are weighted with the configured gamma {gamma}."
    found = {trial["gamma"]: trial["ndcg@10"] for trial in trials}
    return (
        f"{model} writes titles; products are weighted with gamma {gamma}, which gave NDCG@10 {found[gamma]:.4f} on "
        f"validation ({found[min(found)]:.4f} with gamma {min(found)})."
    )
