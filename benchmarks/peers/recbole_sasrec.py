"""Steps of RecBole's SASRec, run by benchmarks/training_speed.py in RecBole's own environment; JSON on the last line.

python recbole_sasrec.py SETTINGS.json, with "log": a file with the columns user, item and place

With "epochs", whole epochs are trained, and after each of them every shopper gets a list, written to the file "lists".
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_seed


def lists(model: SASRec, questions: Any, dataset: Any, k: int) -> dict[str, list[int]]:  # noqa: ANN401  # RecBole's
    """Return the best items of each shopper by id, k more than its history is long, which the reader masks."""
    found = {}
    model.eval()
    with torch.no_grad():
        for interaction, *_ in questions:
            scores = model.full_sort_predict(interaction)
            scores[:, 0] = -torch.inf  # the filling is no item
            best = scores.topk(min(k + dataset.max_item_list_len, scores.shape[1] - 1), dim=1).indices
            users = dataset.id2token(dataset.uid_field, interaction[dataset.uid_field].numpy())
            items = dataset.id2token(dataset.iid_field, best.numpy())
            found |= {str(user): [int(item) for item in row] for user, row in zip(users, items, strict=True)}
    model.train()
    return found


def whole_epochs(model: SASRec, batches: Any, questions: Any, dataset: Any, asked: dict[str, Any]) -> None:  # noqa: ANN401
    """Train for whole epochs; write lists after each, and print the seconds that training took without them."""
    optimiser = torch.optim.Adam(model.parameters(), lr=asked["learning_rate"])
    seconds, listed = [], []
    for _ in range(asked["epochs"]):
        model.train()
        start = time.perf_counter()
        for batch in batches:
            optimiser.zero_grad()
            model.calculate_loss(batch).backward()
            optimiser.step()
        seconds.append(time.perf_counter() - start)
        listed.append(lists(model, questions, dataset, asked["k"]))
    Path(asked["lists"]).write_text(json.dumps(listed))
    print(json.dumps({"epoch_seconds": seconds}))


def main() -> None:
    """Train for a few steps and print their seconds and losses."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(asked["threads"])
    log = Path(asked["log"])  # RecBole wants FOLDER/NAME/NAME.inter with typed columns
    settings = {
        "data_path": str(log.parent.parent),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "MAX_ITEM_LIST_LENGTH": asked["max_length"],
        "hidden_size": asked["dim"],
        "inner_size": 4 * asked["dim"],
        "n_layers": asked["layers"],
        "n_heads": asked["heads"],
        "hidden_dropout_prob": asked["dropout"],
        "attn_dropout_prob": asked["dropout"],
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": asked["batch_size"] or 2048,
        "learning_rate": asked["learning_rate"],
        "use_gpu": False,
        "state": "ERROR",
        "seed": 0,
        "reproducibility": False,
        "show_progress": False,
    }
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    config = Config(model="SASRec", dataset=log.stem, config_dict=settings)
    init_seed(0, False)
    dataset = create_dataset(config)
    batches, questions, _ = data_preparation(config, dataset)
    model = SASRec(config, batches.dataset)
    if asked.get("epochs"):
        whole_epochs(model, batches, questions, dataset, asked)
        return
    optimiser = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    model.train()
    seconds, losses = [], []
    start = time.perf_counter()
    for number, batch in enumerate(batches):
        if number == asked["batches"]:
            break
        optimiser.zero_grad()
        loss = model.calculate_loss(batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    said = {"batches": len(batches), "seconds": seconds, "losses": losses, "batch_size": config["train_batch_size"]}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
