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


def verdict(report: dict[str, Any]) -> str:
    """Say in one or two sentences what the language model did to the retriever's order."""
    if not report:
        return "No language model took part."
    trials = report["chosen_on_validation"]
    weight = report["weight"]
    model = (report["language_model"] or {}).get("name", "No language model")
    if not trials:
        return f"{model} takes part with the configured weight {weight}."
    best = max(trials, key=lambda trial: trial["gain"])
    if weight == 0:
        alone = next(trial for trial in trials if trial["weight"] == 1.0)
        return (
            f"{model} was switched off: on validation no weight helped by more than 2.8 standard errors. "
            f"Alone it changed NDCG@10 by {alone['gain']:+.4f} (standard error {alone['standard_error']:.4f}); "
            f"the best weight, {best['weight']}, by {best['gain']:+.4f} (standard error {best['standard_error']:.4f})."
        )
    return (
        f"{model} takes part with weight {weight}, which changed NDCG@10 on validation by {best['gain']:+.4f} "
        f"(standard error {best['standard_error']:.4f}). Failures keep the retriever's order."
    )
