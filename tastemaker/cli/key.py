"""`tastemaker key`: access keys of the service."""

from __future__ import annotations

import typer

from tastemaker.cli import options
from tastemaker.cli.output import note, print_json
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, opened, plain, print_records, when
from tastemaker.errors import DataError

app = typer.Typer(help="Make, list and end access keys of the service.", no_args_is_help=True)


@app.command()
def create(
    name: str = typer.Argument(metavar="NAME", help="Who uses it, such as web-shop."),
    scopes: list[str] = typer.Option(["read"], "--scope", help="read, write or admin; may be repeated."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Make a key and print its secret, this once; only a hash of it is kept."""
    with opened(store, write=True, create=True, upgrade=True) as target:
        secret, key = target.create_key(tenant, name, scopes)
    if json:
        print_json({"secret": secret, "tenant": tenant, **plain(key)})
    else:
        typer.echo(secret)
        note(f"key {key.key_id} of tenant {tenant!r} opens: {', '.join(sorted(key.scopes))}; it is not shown again")


@app.command(name="list")
def list_(store: str | None = STORE_OPTION, tenant: str = TENANT_OPTION, json: bool = options.JSON) -> None:
    """List keys, without their secrets."""
    with opened(store, write=False) as source:
        keys = source.list_keys(tenant)
    columns = {
        "key": lambda one: one.key_id,
        "name": lambda one: one.name,
        "scopes": lambda one: ", ".join(sorted(one.scopes)),
        "created": lambda one: when(one.created_at),
        "revoked": lambda one: when(one.revoked_at),
    }
    print_records(keys, columns, json=json)


@app.command()
def revoke(
    key_id: str = typer.Argument(metavar="KEY", help="As `key list` shows it."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """End a key."""
    with opened(store, write=True) as target:
        if not target.revoke_key(tenant, key_id):
            raise DataError(f"key {key_id!r}: tenant {tenant!r} has no such key that still opens anything")
    note(f"key {key_id} opens nothing any more")
