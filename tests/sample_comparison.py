"""A comparison as `tastemaker compare` writes it, with numbers from a seeded generator: five models, two variants."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

KS = (5, 10)
MODELS = {"sasrec + listwise": 0.0538, "sasrec": 0.0521, "als": 0.0389, "text_knn": 0.0214, "popular": 0.0055}
FLOOR = ("text_knn", "popular")
VARIANTS = ("masked, file ties, fitted on train", "unmasked, shuffled ties, fitted on train + validation")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</title></svg><script>alert(3)</script>",
    "' onmouseover='alert(4)",
    "{{ 7 * 7 }} {% raw %}",
    "Cream\u202egnp.exe\u2066 \u200bzero \U000e0041",
    "half a character \ud800",
    '=HYPERLINK("http://x.example")',
    "שמפו לשיער יבש 250 מ״ל",
    "Very long " + "name of a hand cream for very dry hands " * 12,
    "W" * 200,
)
CATEGORIES = ("Hair care", "Skin care", "Make-up", "Fragrance", "Tools & accessories", "Bath", "Nails", "Men", "Gifts")
LENGTHS = ("0", "1-2", "3-5", "6-10", "11+")
POPULARITY = ("cold", "tail", "middle", "head")
AGES = ("under 30 days", "30-90 days", "90-365 days", "over a year")


def sample(*, seed: int = 0, points: int = 1500) -> dict[str, Any]:
    """Return a full comparison; one model failed under the second variant."""
    rng = np.random.default_rng(seed)
    rows = [_row(rng, model, value, variant) for variant in VARIANTS for model, value in MODELS.items()]
    rows.append({"model": "lightgcn", "floor": False, "variant": VARIANTS[1], "error": f"out of memory {HOSTILE[0]}"})
    return {
        "format": 1,
        "made_by": {
            "command": ["tastemaker", "compare", "sasrec.toml", "als", "--data", "shop dir/", "--seeds", "3"],
            "tastemaker": "0.3.0",
            "python": "3.11.9",
            "numpy": "2.4.6",
        },
        "data": {
            "source": "Beauty (Amazon reviews 2014)",
            "fingerprint": "9f1c2ab4d5e6",
            "users": 22363,
            "items": 12101,
            "interactions": 198502,
            "fitted_on": None,
        },
        "ks": list(KS),
        "measure": "ndcg@10",
        "floor": list(FLOOR),
        "seeds": [0, 1, 2],
        "variants": list(VARIANTS),
        "protocol": {
            "split": "leave-one-out",
            "items_ranked": "all",
            "repeated_targets": "counted; a masked list can never hit them",
            "interval": "95 % percentile bootstrap over queries, 1,000 resamples",
            "test_queries": 22363,
        },
        "rows": rows,
        "pairs": _pairs(),
        "map": {"of": "text vectors (tfidf)", "points": _points(rng, points)},
        "examples": [_example(number) for number in range(3)],
        "notes": ["3 near-duplicate products stand on both sides of the split; their rows are counted."],
    }


def crowded(models: int = 12) -> dict[str, Any]:
    """Return a comparison of many models with long names, close figures, one variant and no map."""
    comparison = sample(points=0)
    rows = [row for row in comparison["rows"] if row["variant"] == VARIANTS[0]]
    named = []
    for number in range(models):
        row = copy.deepcopy(rows[number % len(rows)])
        row["model"] = f"{row['model']} with text vectors and weight {number / 10}"
        for grown in (*row["metrics"].values(), *row["cold_start"]):
            for key, value in grown.items():
                grown[key] = value * (1 + 0.003 * number) if isinstance(value, float) else value
        named.append(row)
    return comparison | {"rows": named, "variants": list(VARIANTS[:1]), "pairs": []}


def _measured(rng: np.random.Generator, value: float, *, seeds: bool = True) -> dict[str, float | None]:
    half = 0.0012 + 0.03 * value
    spread = float(rng.uniform(0.0002, 0.0009)) if seeds else None
    return {"value": value, "low": max(value - half, 0.0), "high": value + half, "spread": spread}


def _row(rng: np.random.Generator, model: str, base: float, variant: str) -> dict[str, Any]:
    value = base * (1 if variant == VARIANTS[0] else 0.87) * float(rng.uniform(0.98, 1.02))
    place = list(MODELS).index(model)
    floor = model in FLOOR
    lm = "listwise" in model
    metrics = {}
    for k, share in ((5, 0.8), (10, 1.0)):
        for name, factor in (("ndcg", 1.0), ("recall", 1.85), ("hit_rate", 1.85), ("mrr", 0.75), ("precision", 0.185)):
            metrics[f"{name}@{k}"] = _measured(rng, value * share * factor)
    beyond = {
        "coverage": (0.71, 0.62, 0.55, 0.83, 0.01)[place],
        "category_coverage": (0.95, 0.94, 0.9, 0.99, 0.04)[place],
        "novelty": (11.8, 11.2, 10.6, 12.9, 7.1)[place],
        "diversity": (0.71, 0.74, 0.72, 0.31, 0.88)[place],
        "gini": (0.62, 0.71, 0.78, 0.48, 0.998)[place],
        "popularity_lift": (0.4, 0.9, 1.6, -0.3, 13.2)[place],
        "miscalibration": (0.21, 0.24, 0.22, 0.11, 0.63)[place],
    }
    metrics |= {
        f"{name}@10": {"value": known, "low": None, "high": None, "spread": None} for name, known in beyond.items()
    }
    metrics["revenue_ndcg@10"] = {"value": math.nan, "low": None, "high": None, "spread": None}
    difference = value - 0.0214
    verdict = "floor" if floor else "above the floor"
    return {
        "model": model,
        "floor": floor,
        "variant": variant,
        "seeds": 3,
        "error": None,
        "config": {"stages": [{"model": model.split(" ")[0], "dim": 64, "dropout": 0.2}], "epochs": 40},
        "protocol": {"history_masked": variant == VARIANTS[0], "fitted_on": variant.rpartition("fitted on ")[2]},
        "metrics": metrics,
        "verdict": verdict,
        "against_floor": None
        if floor
        else {
            "model": "text_knn",
            "difference": difference,
            "low": difference - 0.002,
            "high": difference + 0.002,
            "p": 0.0001,
            "p_holm": 0.0004,
            "significant": True,
        },
        "slices": _slices(rng, value, place),
        "gaps": [
            _gap("history length", "1-2", 0.7 * value, "11+", 1.3 * value),
            _gap("target popularity", "cold", 0.02 * value, "head", 1.9 * value),
            _gap("loyalty", "none", 0.8 * value, "gold", 1.1 * value),
        ],
        "cold_start": [
            {"length": length, "queries": 4120, "ndcg@10": grown, "recall@10": 1.85 * grown}
            for length, share in ((0, 0.1), (1, 0.55), (2, 0.7), (3, 0.8), (5, 0.93), (10, 0.98), (None, 1.0))
            for grown in [value * share if model != "popular" else value]
        ],
        "curves": {
            "lorenz": [
                [x / 20, (x / 20) ** (1 + 3 * (1 + place % 3) + (30 if model == "popular" else 0))] for x in range(21)
            ],
            "coverage": [[k, beyond["coverage"] * (k / 10) ** 0.4] for k in (1, 2, 5, 10)],
        },
        "stages": _stages(lm, value),
        "trust": {
            "lists": {
                "invalid ids": 0,
                "repeated items": 0,
                "items of the history": 0,
                "short lists": 12 if lm else 0,
                "filled by fallback": 12 if lm else 0,
            },
            "language_model": [
                {
                    "stage": 1,
                    "model": "listwise",
                    "asked": 1000,
                    "parse failures": 14,
                    "out of candidates": 3,
                    "repeated": 9,
                    "fallback rate": 0.026,
                    "order sensitivity": {"asked": 10, "kendall_tau": {"value": 0.41, "low": 0.3, "high": 0.52}},
                }
            ]
            if lm
            else [],
            "reasons": {
                "asked": 500,
                "grounded": 488,
                "share_grounded": 0.976,
                "by_kind": {"history": 0.93, "attribute": 0.71},
                "sentences": None,
                "counterfactual": {
                    "asked": 200,
                    "tested": 180,
                    "depth": 100,
                    "fell": {"value": 0.71 - 0.1 * place, "low": 0.64, "high": 0.78},
                    "control_fell": {"value": 0.22, "low": 0.16, "high": 0.28},
                    "difference": {"value": 0.49 - 0.1 * place, "low": 0.4, "high": 0.58},
                },
            }
            if lm or model == "als"
            else None,
        },
        "cost": {
            "fit_seconds": (912.0, 840.5, 12.4, 3.1, 0.02)[place],
            "rank_seconds": (2410.0, 9.5, 2.2, 4.0, 0.4)[place],
            "latency_ms": {
                "p50": (410.0, 6.1, 1.2, 2.4, 0.3)[place],
                "p95": (690.0, 9.9, 1.9, 3.8, 0.5)[place],
                "asked": 200,
            },
            "peak_mib": (3310.0, 1840.0, 690.0, 512.0, math.nan)[place],
            "language_models": [{"model": "smollm2-135m-instruct", "calls": 1000}] if lm else [],
            "per_1000_requests": {
                "seconds": (410.0, 6.1, 1.2, 2.4, 0.3)[place],
                "calls": 1000 if lm else 0,
                "prompt_tokens": 412000 if lm else 0,
                "answer_tokens": 21000 if lm else 0,
                "money": 0.083 if lm else 0.0,
            },
            "stage_seconds": [9.5, 2400.5] if lm else [9.5],
        },
        "learning_curve": [
            {
                "epoch": epoch,
                "loss": 0.4 + 6.1 * math.exp(-epoch / (6 + place)),
                "ndcg@10": value * (1 - math.exp(-epoch / 7)),
            }
            for epoch in range(1, 41)
        ]
        if "sasrec" in model
        else [],
    }


def _gap(by: str, worst: str, low: float, best: str, high: float) -> dict[str, Any]:
    measure = "recall@10" if by.startswith("target") else "ndcg@10"
    return {
        "by": by,
        "measure": measure,
        "worst": worst,
        "worst_value": low,
        "worst_queries": 310,
        "best": best,
        "best_value": high,
        "best_queries": 5000,
        "gap": high - low,
        "p": 0.3 if by == "loyalty" else 0.001,
        "p_holm": 0.3 if by == "loyalty" else 0.003,
        "significant": by != "loyalty",
    }


def _slices(rng: np.random.Generator, value: float, place: int) -> list[dict[str, Any]]:
    groupings = {
        "history length": (LENGTHS, (0.3, 0.7, 1.0, 1.15, 1.3), (210, 6120, 9800, 4011, 2222)),
        "target popularity": (POPULARITY, (0.02 if place != 3 else 0.9, 0.4, 1.0, 1.9), (310, 8040, 9013, 5000)),
        "target age": (AGES, (0.6, 0.8, 1.0, 1.1), (800, 2400, 9800, 9363)),
        "loyalty": (("none", "silver", "gold", HOSTILE[0]), (0.8, 1.0, 1.1, 0.9), (12000, 8000, 2000, 363)),
    }
    return [
        {
            "by": by,
            "group": group,
            "queries": queries,
            "metrics": {
                "ndcg@10": _measured(rng, value * share * float(rng.uniform(0.93, 1.07)), seeds=False),
                "recall@10": _measured(rng, 1.85 * value * share * float(rng.uniform(0.93, 1.07)), seeds=False),
            },
        }
        for by, (groups, shares, counts) in groupings.items()
        for group, share, queries in zip(groups, shares, counts, strict=True)
    ]


def _stages(lm: bool, value: float) -> list[dict[str, Any]]:
    if not lm:
        return [{"model": "only", "config": {"dim": 64, "dropout": 0.2}, "metrics": {}, "report": {}}]
    trials = [
        {"weight": weight / 10, "ndcg@10": value, "gain": 0.0017 - 0.0003 * weight, "standard_error": 0.0004}
        for weight in range(11)
    ]
    report = {"weight": 0.1, "chosen_on_validation": trials, "language_model": {"name": "smollm2-135m-instruct"}}
    change = {"ndcg@10": {"value": 0.0017, "low": 0.0004, "high": 0.003}}
    return [
        {"model": "sasrec", "metrics": {}, "report": {}},
        {"model": "listwise", "metrics": {}, "change": change, "report": report},
    ]


def _pairs() -> list[dict[str, Any]]:
    names = list(MODELS)
    return [
        {
            "variant": variant,
            "measure": "ndcg@10",
            "a": a,
            "b": b,
            "difference": MODELS[a] - MODELS[b],
            "low": MODELS[a] - MODELS[b] - 0.002,
            "high": MODELS[a] - MODELS[b] + 0.002,
            "p": 0.2 if place == 0 and second == 0 else 0.0001,
            "p_holm": 0.4 if place == 0 and second == 0 else 0.0008,
            "significant": not (place == 0 and second == 0),
        }
        for variant in VARIANTS
        for place, a in enumerate(names)
        for second, b in enumerate(names[place + 1 :])
    ]


def _points(rng: np.random.Generator, points: int) -> list[dict[str, Any]]:
    found = []
    for number in range(points):
        category = int(rng.integers(len(CATEGORIES)))
        angle = 2 * math.pi * category / len(CATEGORIES)
        found.append(
            {
                "x": 3 * math.cos(angle) + float(rng.normal(0, 0.9)),
                "y": 3 * math.sin(angle) + float(rng.normal(0, 0.9)),
                "title": HOSTILE[number] if number < len(HOSTILE) else f"{CATEGORIES[category]} product no. {number}",
                "category": CATEGORIES[category],
                "popularity": float(rng.pareto(1.2)) + 1,
            }
        )
    return [*found, {"x": math.nan, "y": 0.0, "title": "off the map", "category": None, "popularity": None}]


def _example(number: int) -> dict[str, Any]:
    products = ("Argan oil shampoo", "Rose hand cream", "Matte lipstick, coral", "Dry skin lotion", "Nail file set")
    return {
        "shopper": f"A{number}17",
        "history": [*products[: 3 + number], *HOSTILE[number * 4 : number * 4 + 4]],
        "bought": ["Repair conditioner", HOSTILE[1]],
        "lists": [
            {
                "model": model,
                "items": [
                    {
                        "name": "Repair conditioner"
                        if rank == place + 1
                        else f"{products[(rank + place) % 5]} no. {rank}",
                        "hit": rank == place + 1,
                        "reason": f"Bought together with “{products[rank % 5]}”; the same brand as before: Acme.",
                    }
                    for rank in range(5)
                ],
            }
            for place, model in enumerate(MODELS)
        ],
    }
