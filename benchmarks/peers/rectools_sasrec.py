"""Steps of RecTools' SASRec, run by benchmarks/training_speed.py in RecTools' own environment; JSON on the last line.

python rectools_sasrec.py SETTINGS.json, with "log": a file with the columns user, item and place

With "epochs", whole epochs are trained, and after each of them every shopper gets a list, written to the file "lists".
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

ASKED: dict[str, Any] = {}
LISTS: list[dict[str, list[int]]] = []
"""After each epoch: item ids by user id, best first, without what the shopper has bought."""
TRAINED: dict[str, Any] = {}
"""The model while it is trained, and its data: lightning copies callbacks, so they cannot hold them."""


class Clock(Callback):
    """Notes seconds and loss of each step, from the end of the step before, as its own loop takes them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.last = 0.0

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401  # lightning's own
        """Start the clock."""
        self.last = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401
        """Note a step."""
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.losses.append(float(outputs["loss"]))
        self.last = now


class Epochs(Callback):
    """Notes the seconds that each epoch of training took, and the lists after it, whose making is not counted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401  # lightning's own
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:  # noqa: ANN401
        """Stop it, and rank for everybody."""
        self.seconds.append(time.perf_counter() - self.started)
        model, data = TRAINED["model"], TRAINED["data"]
        model.is_fitted = True
        users = data.user_id_map.external_ids
        table = model.recommend(users, data, k=ASKED["k"], filter_viewed=True, on_unsupported_targets="ignore")
        table = table.sort_values([Columns.User, Columns.Rank])
        LISTS.append({str(user): rows.tolist() for user, rows in table.groupby(Columns.User)[Columns.Item]})
        module.train()


def trainer() -> Trainer:
    """Return a trainer that stops after the asked number of steps, or of epochs."""
    whole = ASKED.get("epochs")
    return Trainer(
        max_epochs=whole or 1,
        limit_train_batches=1.0 if whole else ASKED["batches"],
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        callbacks=[Epochs() if whole else Clock()],
    )


def main() -> None:
    """Train for a few steps and print their seconds and losses."""
    ASKED.update(json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(ASKED["threads"])
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(0)
    log = pd.read_csv(ASKED["log"], sep="\t")
    log.columns = [Columns.User, Columns.Item, "place"]
    back = log.groupby(Columns.User)["place"].transform("max") - log["place"]
    log = log[back >= 2]  # leave-one-out: the last two are for validation and test
    log[Columns.Datetime] = pd.to_datetime(log.pop("place"), unit="s")
    log[Columns.Weight] = 1
    size = ASKED["batch_size"] or 128
    model = SASRecModel(
        n_factors=ASKED["dim"],
        n_blocks=ASKED["layers"],
        n_heads=ASKED["heads"],
        dropout_rate=ASKED["dropout"],
        session_max_len=ASKED["max_length"],
        loss="softmax",
        lr=ASKED["learning_rate"],
        batch_size=size,
        epochs=ASKED.get("epochs") or 1,
        get_trainer_func=trainer,
    )
    data = Dataset.construct(log)
    TRAINED.update(model=model, data=data)
    model.fit(data)
    if ASKED.get("epochs"):
        Path(ASKED["lists"]).write_text(json.dumps(LISTS))
        said = next(one.seconds for one in model.fit_trainer.callbacks if isinstance(one, Epochs))
        print(json.dumps({"epoch_seconds": said, "batch_size": size}))
        return
    users = int((log.groupby(Columns.User).size() > 1).sum())
    clock = next(one for one in model.fit_trainer.callbacks if isinstance(one, Clock))  # of a copy of our trainer
    said = {"batches": -(-users // size), "seconds": clock.seconds, "losses": clock.losses, "batch_size": size}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
