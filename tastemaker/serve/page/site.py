"""The routes of the page: two documents and their static files, under a content security policy without exceptions.

The documents hold no data and need no key; what they show comes from the API, with the key that was typed in. Scripts
and styles come from this process alone, nothing is written inline, and the browser itself refuses to turn text into
markup (`require-trusted-types-for`). Pictures come from the addresses that the shop has named, else from nowhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

import tastemaker
from tastemaker.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DOCUMENTS = {"/": "shopper.html", "/operator": "operator.html"}
HEADERS = {
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}


def policy(image_sources: Sequence[str]) -> str:
    """Return the content security policy of the documents."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            " ".join(("img-src 'self'", *image_sources)),
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@dataclass(frozen=True, slots=True)
class File:
    """A static file with its type and the mark by which a browser asks whether it has changed."""

    content: bytes
    media_type: str
    etag: str


def static_files() -> dict[str, File]:
    """Return the static files of the page by name; the colours are those of the reports."""
    package = resources.files(tastemaker)
    found = {"colours.css": _file("colours.css", package / "templates" / "colours.css")}
    for place in (package / "serve" / "page" / "static").iterdir():
        if PurePosixPath(place.name).suffix in TYPES:
            found[place.name] = _file(place.name, place)
    return found


def _file(name: str, place: Traversable) -> File:
    content = place.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return File(content, TYPES[PurePosixPath(name).suffix], etag)


def documents(image_sources: Sequence[str]) -> dict[str, bytes]:
    """Return the documents by path."""
    environment = Environment(
        loader=PackageLoader("tastemaker.serve.page"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return {
        path: environment.get_template(name)
        .render(path=path, version=tastemaker.__version__, image_sources=" ".join(image_sources))
        .encode()
        for path, name in DOCUMENTS.items()
    }


def page_routes(image_sources: Sequence[str]) -> APIRouter:
    """Return the routes of the page.

    Args:
        image_sources: addresses that pictures of products may be loaded from, such as "https://img.shop.example".
    """
    router = APIRouter(include_in_schema=False)
    written, files = documents(image_sources), static_files()
    headers = HEADERS | {"content-security-policy": policy(image_sources)}

    @router.get("/")
    @router.get("/operator")
    async def document(request: Request) -> Response:
        return Response(written[request.url.path], media_type="text/html", headers=headers)

    @router.get("/static/{name}")
    async def static(name: str, request: Request) -> Response:
        file = files.get(name)
        if file is None:
            raise Problem(404, "no such file")
        kept = HEADERS | {"etag": file.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=kept)
        return Response(file.content, media_type=file.media_type, headers=kept)

    return router
