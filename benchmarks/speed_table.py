"""Gather the speed ratios in benchmarks/results into one table, which README.md shows.

Each figure comes from a script of its own, run on a quiet machine; `python benchmarks/speed_table.py` prints the table.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict | None:
    """Return the results of one script, or None if it has not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return what was measured, ours, the peer, the ratio and the script."""
    found = []
    if knn := load("item_knn_speed"):
        for neighbours in sorted({row["neighbours"] for row in knn["rows"]}):
            total = {
                row["library"]: statistics.median(a + b for a, b in zip(row["fit"], row["rank"], strict=True))
                for row in knn["rows"]
                if row["neighbours"] == neighbours
            }
            found.append(
                (
                    f"item-KNN (TF-IDF, {neighbours} neighbours): fit and top 10 for all of Beauty",
                    f"{total['tastemaker']:.2f} s",
                    f"implicit {total['implicit']:.2f} s",
                    f"{total['implicit'] / total['tastemaker']:.2f}",
                    "item_knn_speed.py",
                )
            )
    if titles := load("encode_titles"):
        by_name = {row["encoder"]: row for row in titles["rows"]}
        found.append(
            (
                f"encoding {titles['titles']:,} titles (MiniLM, float32, equal vectors)",
                f"{by_name['tastemaker']['seconds']:.1f} s",
                f"sentence-transformers {by_name['sentence-transformers']['seconds']:.1f} s",
                f"{by_name['tastemaker']['ratio']:.2f}",
                "encode_titles.py",
            )
        )
    if measures := load("metrics_speed"):
        found.append(
            (
                f"recall and NDCG at 5 and 10 for {measures['users']:,} lists",
                f"{1000 * measures['tastemaker_seconds']:.1f} ms",
                f"ranx {1000 * measures['ranx_seconds']:.0f} ms",
                f"{measures['times_faster']:.0f}",
                "metrics_speed.py",
            )
        )
        every = measures["everything"]
        found.append(
            (
                f"{every['tastemaker_measures']} measures with intervals for {every['users']:,} lists of {every['k']}",
                f"{1000 * every['tastemaker_seconds']:.0f} ms",
                f"ranx, {every['ranx_measures']} measures without intervals {1000 * every['ranx_seconds']:.0f} ms",
                f"{every['times_faster']:.1f}",
                "metrics_speed.py",
            )
        )
    if csv := load("read_csv"):
        ours, plain = csv["tasks"]["tastemaker.read"], csv["tasks"]["polars.read_csv"]
        found.append(
            (
                f"{csv['rows']:,} csv rows read, checked and numbered ({ours['peak_mib']:.0f} MiB)",
                f"{ours['seconds']:.2f} s",
                f"polars, reading only {plain['seconds']:.2f} s",
                f"{plain['seconds'] / ours['seconds']:.2f}",
                "read_csv.py",
            )
        )
    if choice := load("choice_likelihood"):
        ways = choice["ways"]
        for what, whole in (("titles", 20), ("letters, 4 orders", 4)):
            shared, full = (ways[f"{what}, {how}"]["wall_s"] for how in ("shared prefix", "in full"))
            found.append(
                (
                    f"20 candidates scored by {what}, what the prompts share read once (SmolLM2, equal values)",
                    f"{shared:.2f} s",
                    f"transformers, {whole} whole prompts one by one {full:.1f} s",
                    f"{full / shared:.1f}",
                    "choice_likelihood.py",
                )
            )
        one, titles = ways["letters, 1 order"]["wall_s"], ways["titles, in full"]["wall_s"]
        found.append(
            (
                "20 candidates ranked by letters, one order (SmolLM2, another way to rank than the peer's)",
                f"{one:.2f} s",
                f"transformers, a whole prompt for each of 20 titles {titles:.1f} s",
                f"{titles / one:.1f}",
                "choice_likelihood.py",
            )
        )
    if training := load("training_speed"):
        seconds = {
            name: statistics.median(run["epoch_seconds"] for run in runs) for name, runs in training["runs"].items()
        }
        for peer, name in (("recbole", "RecBole"), ("rectools", "RecTools")):
            steps = training["runs"][peer][0]
            found.append(
                (
                    "an epoch of SASRec on Beauty, equal settings but for the batches, full cross-entropy",
                    f"{seconds['tastemaker']:.1f} s",
                    f"{name} {seconds[peer]:.0f} s (from {steps['steps_timed']} of its {steps['batches']} steps)",
                    f"{training['times_faster'][peer]:.0f}",
                    "training_speed.py",
                )
            )
    if equal := load("time_to_accuracy"):
        for name, peers in equal["equal"]["to_equal"].items():
            how = name.partition(", ")[2] or "equal settings but for the batches"
            for peer, one in peers.items():
                found.append(
                    (
                        f"SASRec on Office to a validation NDCG@10 of {one['ndcg@10']:.4f}, {how}",
                        f"{one['ours']:.0f} s",
                        f"{peer} {one['peer']:.0f} s",
                        f"{one['times_faster']:.1f}",
                        "training_speed.py",
                    )
                )
    if retrieval := load("retrieval_speed"):
        for row in retrieval["speed"]:
            found.append(
                (
                    f"top {retrieval['k']} of {retrieval['items']:,} vectors for {retrieval['users']:,} histories, "
                    f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}",
                    f"{row['seconds']['search']:.2f} s",
                    f"faiss IndexFlatIP {row['seconds']['faiss']:.2f} s",
                    f"{row['times_faster_than_faiss']:.2f}",
                    "retrieval_speed.py",
                )
            )
    if (service := load("serve_load")) and (rounds := service.get("throughput", {}).get("rounds")):
        ours, bare = ([one[name]["per_second"] for one in rounds] for name in ("ours", "bare"))
        found.append(
            (
                "lists a second of the whole service, 12,101 products x 64, 32 connections, returning shoppers",
                f"{statistics.median(ours):,.0f}",
                f"a FastAPI route with one matrix-vector product and a top 10: {statistics.median(bare):,.0f}",
                f"{statistics.median(a / b for a, b in zip(ours, bare, strict=True)):.2f}",
                "serve_load.py",
            )
        )
    return found


def table() -> str:
    """Return the table as markdown."""
    lines = ["| what | tastemaker | peer | times faster | script |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join((*row[:4], f"`{row[4]}`")) + " |" for row in rows()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
