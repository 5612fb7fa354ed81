"""The comparison as CSV: the same figures, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

import pytest
from sample_comparison import MODELS, VARIANTS, sample

from tastemaker.errors import DataError
from tastemaker.report import comparison_csv


def table(comparison):
    return list(csv.DictReader(io.StringIO(comparison_csv(comparison))))


def test_one_line_a_model_and_variant_with_its_figures():
    comparison = sample(points=0)
    lines = table(comparison)
    assert len(lines) == len(MODELS) * len(VARIANTS) + 1
    for line, row in zip(lines, comparison["rows"], strict=True):
        assert (line["model"], line["variant"]) == (row["model"], row["variant"])
        if not row["error"]:
            for bound in ("low", "high", "spread"):
                assert float(line[f"ndcg@10 {bound}"]) == row["metrics"]["ndcg@10"][bound]
            assert float(line["recall@5"]) == row["metrics"]["recall@5"]["value"]
            assert line["revenue_ndcg@10"] == ""  # NaN is not measured
    assert lines[0]["verdict"] == "above the floor"
    assert float(lines[0]["floor p_holm"]) == 0.0004
    assert lines[-1]["error"].startswith("out of memory")
    assert lines[-1]["ndcg@10"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r\n@"])
def test_formulas_become_text(start):
    hostile = f"{start}HYPERLINK(1)"
    comparison = {
        "format": 1,
        "measure": "m",
        "rows": [{"model": hostile, "metrics": {f"{hostile}@1": {"value": -0.5}}}],
    }
    text = comparison_csv(comparison)
    [line] = csv.DictReader(io.StringIO(text, newline=""))
    assert line["model"] == f"'{hostile.strip()}"
    assert line[f"'{hostile.strip()}@1"] == "-0.5"


def test_a_label_that_is_a_number_stays_a_number():
    [line] = table({"format": 1, "measure": "m", "rows": [{"model": "-1.5e3"}]})
    assert line["model"] == "-1.5e3"


def test_no_rows_and_no_comparison():
    assert comparison_csv({"format": 1, "measure": "ndcg@10"}) == "model\n"
    with pytest.raises(DataError, match=r"comparison\.format"):
        comparison_csv({})
