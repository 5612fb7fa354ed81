"""Augmentation of one shop: write, judge, and put together what is kept, with the provenance of every row.

Everything is written from the training part of the split under which it will be used; nothing held out is looked at.
The shop's own columns stay as they are. Synthetic interactions are marked (`tastemaker.data.synthetic`).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker import registry
from tastemaker.augment.edges import propose
from tastemaker.augment.gate import judge
from tastemaker.augment.settings import AugmentConfig
from tastemaker.configurable import parse_config
from tastemaker.data.dataset import PROVENANCE, SYNTHETIC, WRITTEN_FROM, Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.synthetic import behind, synthetic_rows, train_digest, written_from
from tastemaker.encoders import build as encoders
from tastemaker.errors import ConfigError, DataError
from tastemaker.lm import build as language_models
from tastemaker.lm.base import describe
from tastemaker.progress import Progress, silent
from tastemaker.search.objective import Asked
from tastemaker.text.clean import clean_all
from tastemaker.text.item_writer import DESCRIBE, GIVE_KEYWORDS, ItemWriter, words_of_company
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompting.prompts import PROFILE
from tastemaker.text.shopper_picker import PICK, ShopperPicker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.lm.base import LanguageModel

REPORT, ROWS = "augmentation.json", "provenance.parquet"
"""Files beside the data: what was done and judged, and who wrote which row."""
COLUMNS = {
    "descriptions": ("items", "written"),
    "keywords": ("items", "written_keywords"),
    "profiles": ("users", "profile"),
}
"""Kind -> table and column."""
PROMPTS = {"descriptions": DESCRIBE, "keywords": GIVE_KEYWORDS, "profiles": PROFILE, "interactions": PICK}


@dataclass(frozen=True, slots=True)
class Augmented:
    """A shop with what was kept.

    Attributes:
        data: the whole shop; with synthetic interactions, marked.
        report: what was written, by whom, and what the gate said. JSON values.
        rows: provenance: table, id, field, author, prompt, seed, train; one row for each text or interaction kept.
    """

    data: Dataset
    report: dict[str, Any]
    rows: pl.DataFrame

    def files(self) -> dict[str, bytes]:
        """Return the files that go beside the data."""
        buffer = io.BytesIO()
        self.rows.write_parquet(buffer)
        return {REPORT: (json.dumps(self.report, indent=1) + "\n").encode(), ROWS: buffer.getvalue()}


def augment(
    settings: Mapping[str, Any],
    wanted: Mapping[str, Any],
    data: Dataset,
    *,
    split: str = "leave-one-out",
    keep: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Augmented:
    """Write, judge and put together.

    Args:
        settings: of the pipeline that is to profit; its tables [encoder] and [lm] serve here too.
        wanted: the table [augment], keys of `AugmentConfig`.
        data: the shop; synthetic interactions in it are left out.
        split: under which the result will be used.
        keep: kinds that are kept whatever the gate says.
        seed: of the split and of every fit.
        progress: shown over the work.

    Raises:
        ConfigError: an unknown setting or kind, or no language model where it is to write.
        DataError: the data do not allow the split, or a column is in the way.
    """
    config = parse_config(AugmentConfig, dict(wanted), place="augment")
    if unknown := set(keep) - set(config.kinds):
        raise ConfigError(f"--keep {min(unknown)}: is not written; kinds: {', '.join(config.kinds)}")
    lm = _language_model(settings, config)
    shop = _own(data)
    pipeline = registry.build(settings, place="augment")
    asked = Asked.of(shop, split=split, calibrates=pipeline.wants_calibration, seed=seed)
    work = _Work(shop, asked.train, config, settings, lm, seed, progress)
    written = {kind: work.write(kind) for kind in config.kinds}
    some = [kind for kind, found in written.items() if found.count]
    verdict = judge(settings, asked, some, lambda kinds: work.put(asked.train, kinds), seed=seed, progress=progress)
    kept = [kind for kind in some if kind in verdict.kept or kind in keep]
    report = {
        "config": config.model_dump(mode="json"),
        "split": split,
        "seed": seed,
        "train": train_digest(asked.train),
        "author": work.author,
        "prompts": {kind: PROMPTS[kind].identity for kind in config.kinds} if lm else {},
        "written": {kind: {"count": found.count, **found.facts} for kind, found in written.items()},
        "judged": {"settings": dict(settings), **asked.facts, **verdict.to_dict()},
        "kept": kept,
        "kept_against_the_gate": [kind for kind in kept if kind not in verdict.kept],
        "switched_off": [kind for kind in config.kinds if kind not in kept],
    }
    return Augmented(work.put(shop, kept), report, work.provenance(kept))


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written of one kind: a column of texts, or rows of the log."""

    facts: dict[str, Any]
    texts: pl.Series | None = None
    rows: pl.DataFrame | None = None

    @property
    def count(self) -> int:
        """Texts that say something, or interactions."""
        if self.texts is not None:
            return len(self.texts) - self.texts.null_count()
        return 0 if self.rows is None else self.rows.height


class _Work:
    """Writes each kind once, and puts kinds into data."""

    def __init__(
        self,
        shop: Dataset,
        train: Dataset,
        config: AugmentConfig,
        settings: Mapping[str, Any],
        lm: LanguageModel | None,
        seed: int,
        progress: Progress,
    ) -> None:
        self._shop, self._train, self._config, self._settings = shop, train, config, settings
        self._lm, self._seed, self._progress = lm, seed, progress
        said = None if lm is None else describe(lm)
        self.author = "statistics" if said is None else f"{said['name']} ({said['fingerprint']})"
        self._origin = f"{self.author}, seed={seed}, train={train_digest(train)}"
        self._written: dict[str, _Written] = {}

    def write(self, kind: str) -> _Written:
        """Write one kind."""
        self._written[kind] = getattr(self, f"_{kind}")()
        return self._written[kind]

    def put(self, data: Dataset, kinds: Sequence[str]) -> Dataset:
        """Return data of the same shop with some kinds."""
        frames = {"items": data.items.frame, "users": data.users.frame}
        mark = pl.lit(f"{SYNTHETIC}{self._origin}").alias(WRITTEN_FROM)
        for kind in kinds:
            if kind in COLUMNS:
                table, column = COLUMNS[kind]
                texts = self._written[kind].texts
                if texts is not None:
                    frames[table] = frames[table].with_columns(texts.alias(column), mark)
        data = Dataset(Entities(frames["users"]), Entities(frames["items"]), data.log)
        rows = self._written["interactions"].rows if "interactions" in kinds else None
        return data if rows is None or not rows.height else behind(data, rows)

    def provenance(self, kinds: Sequence[str]) -> pl.DataFrame:
        """Return who wrote which row of some kinds."""
        parts = []
        for kind in kinds:
            found = self._written[kind]
            if found.texts is not None:
                table, column = COLUMNS[kind]
                entities = self._shop.items if table == "items" else self._shop.users
                ids = entities.frame["id"].filter(found.texts.is_not_null())
                parts.append(ids.to_frame().select(pl.lit(table).alias("table"), "id", pl.lit(column).alias("field")))
            elif found.rows is not None:
                ids = self._shop.items.frame["id"].gather(found.rows["item"])
                users = self._shop.users.frame["id"].gather(found.rows["user"])
                parts.append(pl.DataFrame({"table": ["interactions"] * len(ids), "id": ids, "field": users}))
            prompt = PROMPTS[kind].identity if self._lm else "statistics"
            parts[-1] = parts[-1].with_columns(pl.lit(self.author).alias("author"), pl.lit(prompt).alias("prompt"))
        schema = dict.fromkeys(("table", "id", "field", "author", "prompt"), pl.String)
        rows = pl.concat([pl.DataFrame(schema=schema), *parts])
        return rows.with_columns(pl.lit(self._seed).alias("seed"), pl.lit(train_digest(self._train)).alias("train"))

    def _descriptions(self) -> _Written:
        """Let the model describe products without description; statistics have nothing to say there."""
        items = self._train.items
        texts = clean_all(items.frame["description"].cast(pl.String)) if "description" in items.frame.columns else []
        numbers = self._coldest(np.flatnonzero([not text for text in texts or [""] * len(items)]))
        if self._lm is None:
            return _Written({"skipped": 'needs writer = "lm"', "without_description": len(numbers)})
        writer = ItemWriter(items, self._lm)
        said = writer.descriptions(self._progress(numbers.tolist(), label="describing products"))
        facts = {"asked": len(numbers), "unreadable": writer.unreadable, "failed": writer.tries.failed}
        return _Written(facts, _column(len(items), numbers, said))

    def _keywords(self) -> _Written:
        items = self._train.items
        if self._lm is None:
            company = np.array(words_of_company(self._train), dtype=object)
            known = self._coldest(np.flatnonzero(company != ""))
            return _Written({"asked": len(items)}, _column(len(items), known, company[known].tolist()))
        numbers = self._coldest(np.arange(len(items)))
        writer = ItemWriter(items, self._lm)
        texts = writer.keywords(self._progress(numbers.tolist(), label="writing keywords"))
        facts = {"asked": len(numbers), "unreadable": writer.unreadable, "failed": writer.tries.failed}
        return _Written(facts, _column(len(items), numbers, texts))

    def _profiles(self) -> _Written:
        """Write profiles from training purchases; what the model fails to write, statistics do."""
        histories = self._train.queries()
        users = np.flatnonzero(histories.lengths > 0)
        if self._config.most is not None:
            users = users[-self._config.most :]
        writer = ProfileWriter(self._train.items, lm=self._lm)
        texts = []
        for user in self._progress(users.tolist(), label="writing profiles"):
            texts.append(writer.write([histories.history(int(user))])[0].in_words())
            writer.tries.check("writing profiles")
        facts = {"asked": len(users), "unreadable": writer.unreadable, "failed": writer.tries.failed}
        return _Written(facts, _column(self._train.n_users, users, texts))

    def _interactions(self) -> _Written:
        encoder = encoders.build(self._settings.get("encoder", {}))
        picker = None if self._lm is None else ShopperPicker(self._lm)
        found = propose(self._train, encoder, self._config, picker=picker, progress=self._progress)
        prompt = PICK.identity if self._lm else "statistics"
        said = f"{prompt} by {self._origin}"
        rows = synthetic_rows(self._train, found.users, found.items, [said] * len(found.users))
        counts = {} if picker is None else dict(+picker.counts)
        return _Written({"cold": found.cold, "asked": found.asked, **counts}, rows=rows)

    def _coldest(self, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the products that texts are written for, the least bought first where not all of them are."""
        if self._config.most is None:
            return numbers
        return numbers[np.argsort(self._train.popularity[numbers], kind="stable")][: self._config.most]


def _column(size: int, numbers: Sequence[int] | np.ndarray[Any, Any], texts: Sequence[str]) -> pl.Series:
    """Return a column of texts, null where there is none."""
    values: list[str | None] = [None] * size
    for number, text in zip(numbers, texts, strict=True):
        values[int(number)] = text or None
    return pl.Series(values, dtype=pl.String)


def _own(data: Dataset) -> Dataset:
    """Return a shop without what augmentation wrote before.

    Raises:
        DataError: the shop has a column of its own where interactions or texts are marked.
    """
    real = data.real()
    if PROVENANCE in real.log.columns:
        raise DataError(f"interactions: column '{PROVENANCE}' is in the way; synthetic interactions are marked there")
    for name, frame in (("items", real.items.frame), ("users", real.users.frame)):
        if WRITTEN_FROM in frame.columns and not written_from(frame):
            raise DataError(f"{name}: column '{WRITTEN_FROM}' is in the way; texts that are written are marked there")
    added = [*COLUMNS.values(), ("items", WRITTEN_FROM), ("users", WRITTEN_FROM)]
    items, users = (
        Entities(entities.frame.drop([column for table, column in added if table == name], strict=False))
        for name, entities in (("items", real.items), ("users", real.users))
    )
    return Dataset(users, items, real.log)


def _language_model(settings: Mapping[str, Any], config: AugmentConfig) -> LanguageModel | None:
    if config.writer == "statistics":
        return None
    if "lm" not in settings:
        raise ConfigError('augment.writer: "lm" needs an [lm] table')
    return language_models.build(settings["lm"])
