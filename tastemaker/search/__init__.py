"""Search for settings on validation questions: `Plan` what is tried on what is `Asked`, then `search`."""

from tastemaker.search.defaults import default_space, usual_values
from tastemaker.search.objective import Asked, Measure, measure_settings
from tastemaker.search.result import best_toml, result_of, trials_csv
from tastemaker.search.space import Choices, Range, Space, Values, checked, flat, parse
from tastemaker.search.study import Plan, search
from tastemaker.search.trials import Trial, best_of

__all__ = [
    "Asked",
    "Choices",
    "Measure",
    "Plan",
    "Range",
    "Space",
    "Trial",
    "Values",
    "best_of",
    "best_toml",
    "checked",
    "default_space",
    "flat",
    "measure_settings",
    "parse",
    "result_of",
    "search",
    "trials_csv",
    "usual_values",
]
