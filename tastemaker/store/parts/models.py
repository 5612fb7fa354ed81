"""Saved models: which there are, which one answers, and which one answered before it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select, update

from tastemaker.errors import DataError
from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_id, check_optional_id, check_text, check_time
from tastemaker.store.folders import changed, check_folder
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.records import ModelVersion, now

if TYPE_CHECKING:
    from sqlalchemy import Connection

COLUMNS = [schema.models.c[name] for name in ("version", "folder", "state", "created_at", "facts", "digest")]
TABLE = schema.models


class Models(Part):
    """Versions of the model that answers."""

    def put_model(self, tenant: str, model: ModelVersion) -> None:
        """Make a version known; its state is "ready" until `activate_model`. The same version again changes nothing.

        Raises:
            DataError: a field cannot be stored, or the version is known with another folder or other content of it.
        """
        check_tenant(tenant)
        row = {
            "tenant": tenant,
            "version": check_id(model.version, "version"),
            "folder": check_text(model.folder, "folder"),
            "state": "ready",
            "created_at": check_time(model.created_at, "created_at") or now(),
            "facts": as_document(dict(model.facts), "facts"),
            "digest": check_optional_id(model.digest, "digest"),
        }

        def store(connection: Connection) -> None:
            sql.salt(connection, tenant)
            there = _get(connection, tenant, model.version)
            if there is None:
                connection.execute(TABLE.insert(), row)
            elif there.folder != model.folder:
                raise DataError(
                    f"model {model.version!r} lies in {there.folder}, not in {model.folder}; give it another version"
                )
            elif there.digest is None and model.digest is not None:
                _change(connection, tenant, model.version, digest=model.digest)
            elif model.digest is not None and model.digest != there.digest:
                raise DataError(changed(there, model.digest))

        self._write(store)

    def list_models(self, tenant: str) -> list[ModelVersion]:
        """Return all versions, the oldest first."""
        listed = select(*COLUMNS).where(TABLE.c.tenant == tenant).order_by(TABLE.c.created_at, TABLE.c.version)
        with self._read() as connection:
            return [_model(row) for row in connection.execute(listed)]

    def active_model(self, tenant: str) -> ModelVersion | None:
        """Return the version that answers, or None before the first was activated."""
        with self._read() as connection:
            row = connection.execute(_active(tenant)).first()
        return None if row is None else _model(row)

    def answering_models(self, tenant: str) -> list[ModelVersion]:
        """Return the version that answers, then those that a roll back after the other would lead to."""
        with self._read() as connection:
            active = connection.execute(_active(tenant)).first()
            if active is None:
                return []
            before = connection.execute(_before(tenant, active.activation)).all()
        return [_model(active), *map(_model, before)]

    def activate_model(self, tenant: str, version: str) -> str | None:
        """Let a version answer; return the one that answered before.

        Raises:
            DataError: the version is unknown.
            ArtifactError: its folder holds another model by now, or none; see `folders.check_folder`.
        """
        check_id(version, "version")

        def activate(connection: Connection) -> str | None:
            model = _get(connection, tenant, version)
            if model is None:
                raise DataError(f"model {version!r} is unknown; put it first, or see `tastemaker model list`")
            check_folder(model)
            before = connection.execute(_active(tenant)).first()
            if before is not None and before.version == version:
                return version
            [number] = sql.numbers(connection, tenant, "activations", 1)
            sql.changed(connection, tenant, "models")
            _change(connection, tenant, version, state="active", activation=number)
            if before is None:
                return None
            _change(connection, tenant, before.version, state="retired")
            return str(before.version)

        return self._write(activate)

    def rollback_model(self, tenant: str) -> str:
        """Let the version answer that did so before the active one; return it.

        Raises:
            DataError: there is none.
            ArtifactError: its folder holds another model by now, or none; see `folders.check_folder`.
        """

        def roll_back(connection: Connection) -> str:
            active = connection.execute(_active(tenant)).first()
            found = None if active is None else connection.execute(_before(tenant, active.activation).limit(1)).first()
            if active is None or found is None:
                raise DataError("there is no model to roll back to; see `tastemaker model list`")
            model = _model(found)
            check_folder(model)
            _change(connection, tenant, active.version, state="retired", activation=None)
            _change(connection, tenant, model.version, state="active")
            sql.changed(connection, tenant, "models")
            return model.version

        return self._write(roll_back)


def _active(tenant: str) -> Any:  # noqa: ANN401  # SQLAlchemy's own long type
    return select(*COLUMNS, TABLE.c.activation).where(TABLE.c.tenant == tenant, TABLE.c.state == "active")


def _before(tenant: str, activation: int) -> Any:  # noqa: ANN401  # SQLAlchemy's own long type
    earlier = select(*COLUMNS).where(TABLE.c.tenant == tenant, TABLE.c.activation < activation)
    return earlier.order_by(TABLE.c.activation.desc())


def _get(connection: Connection, tenant: str, version: str) -> ModelVersion | None:
    row = connection.execute(select(*COLUMNS).where(TABLE.c.tenant == tenant, TABLE.c.version == version)).first()
    return None if row is None else _model(row)


def _change(connection: Connection, tenant: str, version: str, **values: object) -> None:
    connection.execute(update(TABLE).where(TABLE.c.tenant == tenant, TABLE.c.version == version).values(**values))


def _model(row: Row[Any]) -> ModelVersion:
    return ModelVersion(row.version, row.folder, row.state, row.created_at, json.loads(row.facts), row.digest)
