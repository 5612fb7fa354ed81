"""What steers a shop's answers: business rules, every version kept, and experiments; and jobs that run behind them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, true, update

from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_id, check_number, check_text, check_time
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.records import Job, now

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

UNDER_WAY = ("queued", "running")
"""States of a job that is not done."""


class Settings(Part):
    """Rules, experiments and jobs, each a JSON document that the store does not look into."""

    def get_rules(self, tenant: str) -> tuple[int, dict[str, Any]]:
        """Return the newest version of the business rules and its number; (0, {}) before the first."""
        table = schema.rules.c
        newest = (
            select(table.version, table.document).where(table.tenant == tenant).order_by(table.version.desc()).limit(1)
        )
        with self._read() as connection:
            found = connection.execute(newest).first()
        return (0, {}) if found is None else (found.version, json.loads(found.document))

    def put_rules(self, tenant: str, document: Mapping[str, Any], actor: str) -> int:
        """Make a new version of the business rules; return its number. Older versions stay.

        Raises:
            DataError: it cannot be kept as JSON.
        """
        check_tenant(tenant)
        row = {
            "tenant": tenant,
            "document": as_document(dict(document), "rules"),
            "actor": check_text(actor, "actor"),
            "created_at": now(),
        }

        def store(connection: Connection) -> int:
            [number] = sql.numbers(connection, tenant, "rules", 1)
            connection.execute(schema.rules.insert(), {**row, "version": number})
            return number

        return self._write(store)

    def put_experiment(self, tenant: str, name: str, document: Mapping[str, Any]) -> None:
        """Put an experiment; one with the same name is replaced.

        Raises:
            DataError: it cannot be kept as JSON.
        """
        check_tenant(tenant)
        row = {
            "tenant": tenant,
            "name": check_id(name, "experiment"),
            "document": as_document(dict(document), f"experiment {name!r}"),
            "updated_at": now(),
        }
        self._put(schema.experiments, row)

    def list_experiments(self, tenant: str) -> dict[str, dict[str, Any]]:
        """Return all experiments by name."""
        table = schema.experiments.c
        listed = select(table.name, table.document).where(table.tenant == tenant).order_by(table.name)
        with self._read() as connection:
            return {name: json.loads(text) for name, text in connection.execute(listed)}

    def put_job(self, tenant: str, job: Job) -> None:
        """Put a job; one with the same id is replaced, but for the time when it was first put.

        Raises:
            DataError: a field cannot be stored.
        """
        check_tenant(tenant)
        values = {
            "kind": check_text(job.kind, "kind"),
            "state": check_text(job.state, "state"),
            "progress": check_number(job.progress, "progress"),
            "result": job.result,
            "error": None if job.error is None else check_text(job.error, "error"),
        }
        row = {
            "tenant": tenant,
            "job_id": check_id(job.job_id, "job_id"),
            "document": as_document(values, f"job {job.job_id!r}"),
            "created_at": check_time(job.created_at, "created_at") or now(),
            "updated_at": check_time(job.updated_at, "updated_at") or now(),
        }
        self._put(schema.jobs, row)

    def get_job(self, tenant: str, job_id: str) -> Job | None:
        """Return a job, or None where there is none."""
        check_id(job_id, "job_id")
        table = schema.jobs.c
        found = select(table.document, table.created_at, table.updated_at).where(
            table.tenant == tenant, table.job_id == job_id
        )
        with self._read() as connection:
            row = connection.execute(found).first()
        if row is None:
            return None
        return Job(job_id, **json.loads(row.document), created_at=row.created_at, updated_at=row.updated_at)

    def touch_jobs(self, jobs: Collection[tuple[str, str]]) -> None:
        """Say of jobs, (tenant, id), that somebody is at them still."""
        table = schema.jobs

        def touch(connection: Connection) -> None:
            stamp = now()
            for tenant, job_id in jobs:
                mine = (table.c.tenant == tenant) & (table.c.job_id == job_id)
                connection.execute(update(table).where(mine).values(updated_at=stamp))

        if jobs:
            self._write(touch)

    def fail_jobs(self, error: str, *, before: int | None = None) -> int:
        """Mark all jobs failed that are not done and that nobody is at any more; return how many.

        Args:
            error: why they failed.
            before: those last put or touched before this time (milliseconds); None for all, which is right only where
                no other process can be at them.
        """
        table = schema.jobs
        late = (table.c.updated_at < before) if before is not None else true()
        listed = select(table.c.tenant, table.c.job_id, table.c.document, table.c.created_at).where(late)

        def fail(connection: Connection) -> int:
            stamp, rows = now(), []
            for row in connection.execute(listed):
                values = json.loads(row.document)
                if values.get("state") in UNDER_WAY:
                    document = as_document({**values, "state": "failed", "error": error}, "job")
                    rows.append({**row._mapping, "document": document, "updated_at": stamp})
            sql.put(connection, table, rows)
            return len(rows)

        return self._write(fail)

    def _put(self, table: Any, row: dict[str, Any]) -> None:  # noqa: ANN401  # one of two tables
        def store(connection: Connection) -> None:
            sql.salt(connection, row["tenant"])
            sql.put(connection, table, [row], keep=("created_at",))
            if table is schema.experiments:
                sql.changed(connection, row["tenant"], "experiments")

        self._write(store)
