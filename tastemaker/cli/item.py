"""`tastemaker item`: take products out of recommendations, and back in."""

from __future__ import annotations

import typer

from tastemaker.cli import options
from tastemaker.cli.output import print_json, print_table
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, opened
from tastemaker.errors import DataError

app = typer.Typer(help="Hide products of a store from recommendations, and show them again.", no_args_is_help=True)

ITEMS = typer.Argument(metavar="ITEM...", help="Ids of products.")


@app.command()
def hide(
    items: list[str] = ITEMS,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Recommend these products no more."""
    _set(items, store, tenant, hidden=True, json=json)


@app.command()
def show(
    items: list[str] = ITEMS,
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Recommend these products again."""
    _set(items, store, tenant, hidden=False, json=json)


def _set(items: list[str], store: str | None, tenant: str, *, hidden: bool, json: bool) -> None:
    with opened(store, write=True) as target:
        known = target.get_items(tenant, items)
        if missing := [item for item in items if item not in known]:
            raise DataError(f"item {missing[0]!r}: not in the catalogue of tenant {tenant!r}; nothing was changed")
        changed = [target.patch_item(tenant, item, {"hidden": hidden}) for item in dict.fromkeys(items)]
    rows = [{"item_id": item.item_id, "title": item.title, "hidden": item.hidden} for item in changed if item]
    if json:
        print_json(rows)
    else:
        print_table(["item", "title", "hidden"], [list(row.values()) for row in rows])
