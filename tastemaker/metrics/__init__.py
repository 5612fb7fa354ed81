"""Measures and statistics: arrays in, one value a query out, and how sure their means are. See docs/measures.md."""

from tastemaker.metrics.catalogue import Catalogue
from tastemaker.metrics.exposure import category_coverage, coverage, coverage_by_k, gini, lorenz, times_listed
from tastemaker.metrics.lists import list_measures, serendipity
from tastemaker.metrics.names import BETTER, better
from tastemaker.metrics.ranking import RANKING_MEASURES, Hits, accuracy, distinct, hits, per_query
from tastemaker.metrics.ratings import mae, rmse
from tastemaker.metrics.revenue import Revenue, revenue
from tastemaker.metrics.slices import (
    Groups,
    by_group,
    by_history_length,
    by_item,
    by_target_age,
    by_target_popularity,
    by_user,
    by_value,
    gaps,
)
from tastemaker.metrics.statistics import (
    PairedTest,
    Ratio,
    bootstrap_interval,
    holm,
    intervals,
    mean,
    paired_test,
    spread,
)
from tastemaker.metrics.summary import Measured, Summary, everything, summarise

__all__ = [
    "BETTER",
    "RANKING_MEASURES",
    "Catalogue",
    "Groups",
    "Hits",
    "Measured",
    "PairedTest",
    "Ratio",
    "Revenue",
    "Summary",
    "accuracy",
    "better",
    "bootstrap_interval",
    "by_group",
    "by_history_length",
    "by_item",
    "by_target_age",
    "by_target_popularity",
    "by_user",
    "by_value",
    "category_coverage",
    "coverage",
    "coverage_by_k",
    "distinct",
    "everything",
    "gaps",
    "gini",
    "hits",
    "holm",
    "intervals",
    "list_measures",
    "lorenz",
    "mae",
    "mean",
    "paired_test",
    "per_query",
    "revenue",
    "rmse",
    "serendipity",
    "spread",
    "summarise",
    "times_listed",
]
