"""Rankings that were made ahead of the request, one a shopper: what they were made from, and reasons with evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Row, select

from tastemaker.errors import DataError
from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_count, check_id, check_number, check_time
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.tombstones import erased_among
from tastemaker.store.records import MadeRanking, now

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from tastemaker.store.databases.claims import Claim

TABLE = schema.rankings
COLUMNS = [TABLE.c[name] for name in ("user_id", "model_version", "digest", "document", "computed_at")]
COUNTER = "rankings"


class Rankings(Part):
    """Rankings made ahead; they can be made again, so `export_tenant` leaves them out."""

    def claim_rankings(self, tenant: str, user_ids: Collection[str]) -> Claim:
        """Claim shoppers to make rankings for; those whose rankings another process is making are not among its names.

        It holds until it is released, or this process ends; whoever claims does what is needed and releases. Meant to
        spare work, not to keep rows whole: a claim that is lost with its connection does no harm.
        """
        return self._database.claim(COUNTER, check_tenant(tenant), user_ids)

    def put_rankings(self, tenant: str, rankings: Sequence[MadeRanking]) -> list[Literal["stored", "erased"]]:
        """Put rankings, each in the place of the shopper's one before; that of an erased shopper stays away.

        Raises:
            DataError: a field cannot be stored; none is.
        """
        check_tenant(tenant)
        rows = [_row(tenant, one, f"rankings[{place}]") for place, one in enumerate(rankings)]

        def store(connection: Connection) -> list[Literal["stored", "erased"]]:
            sql.salt(connection, tenant)
            erased = erased_among(connection, tenant, {row["user_id"] for row in rows})
            kept = [row for row in rows if row["user_id"] not in erased]
            numbers = sql.numbers(connection, tenant, COUNTER, len(kept)) if kept else range(0)
            numbered = [{**row, "sequence": number} for row, number in zip(kept, numbers, strict=True)]
            sql.put(connection, TABLE, numbered)
            return ["erased" if row["user_id"] in erased else "stored" for row in rows]

        return self._write(store, weight=len(rows)) if rows else []

    def get_ranking(self, tenant: str, user_id: str) -> MadeRanking | None:
        """Return what was made for a shopper last, or None."""
        check_id(user_id, "user_id")
        mine = select(*COLUMNS).where(TABLE.c.tenant == tenant, TABLE.c.user_id == user_id)
        with self._read() as connection:
            row = connection.execute(mine).first()
        return None if row is None else made(row)

    def rankings_after(self, tenant: str, sequence: int, limit: int = 1000) -> list[tuple[int, str]]:
        """Return whose rankings were put after a sequence number, with theirs, in order."""
        following = (
            select(TABLE.c.sequence, TABLE.c.user_id)
            .where(TABLE.c.tenant == tenant, TABLE.c.sequence > sequence)
            .order_by(TABLE.c.sequence)
            .limit(limit)
        )
        with self._read() as connection:
            return [(row.sequence, row.user_id) for row in connection.execute(following)]

    def last_ranking(self, tenant: str) -> int:
        """Return the sequence number of the ranking put last, 0 before the first."""
        with self._read() as connection:
            return sql.current(connection, tenant, COUNTER)


def made(row: Row[Any]) -> MadeRanking:
    """Return the ranking that a row holds."""
    values = json.loads(row.document)
    for name in ("item_ids", "scores"):
        values[name] = tuple(values[name])
    return MadeRanking(row.user_id, row.model_version, row.digest, computed_at=row.computed_at, **values)


def texts_of(document: str) -> set[str]:
    """Return the sentences in a row's document: they tell what somebody bought."""
    return {reason["text"] for reason in json.loads(document)["reasons"].values() if reason.get("text")}


def _row(tenant: str, one: MadeRanking, place: str) -> dict[str, Any]:
    try:
        if len(one.item_ids) != len(one.scores):
            raise DataError(f"scores: {len(one.scores)} for {len(one.item_ids)} products")
        rest = {
            "item_ids": [check_id(item, "item_ids") for item in one.item_ids],
            "scores": [check_number(score, "scores") for score in one.scores],
            "source": check_id(one.source, "source"),
            "reasons": {check_id(item, "reasons"): dict(reason) for item, reason in one.reasons.items()},
            "wanted_reasons": check_count(one.wanted_reasons, "wanted_reasons"),
            "catalogue": check_count(one.catalogue, "catalogue"),
            "rules": check_count(one.rules, "rules"),
        }
        return {
            "tenant": tenant,
            "user_id": check_id(one.user_id, "user_id"),
            "model_version": check_id(one.model_version, "model_version"),
            "digest": check_id(one.digest, "digest"),
            "document": as_document(rest, "document"),
            "computed_at": check_time(one.computed_at, "computed_at") or now(),
        }
    except DataError as error:
        raise DataError(f"{place}.{error}") from error
