"""`tastemaker prompts`: the prompts that language models get, versioned and hashed."""

from __future__ import annotations

import typer

from tastemaker.cli.output import JSON_OPTION, print_json
from tastemaker.text.prompts import CHOOSE, NEXT, ORDER, PHRASE, PREFER, PROFILE, RECOMMEND, YES_NO


def prompts(json: bool = JSON_OPTION) -> None:
    """Print every prompt template with its identity."""
    templates = (CHOOSE, NEXT, ORDER, RECOMMEND, YES_NO, PREFER, PROFILE, PHRASE)
    if json:
        print_json(
            [
                {"identity": one.identity, "system": one.system, "user": one.user, "answer": one.answer}
                for one in templates
            ]
        )
        return
    for one in templates:
        typer.echo(f"== {one.identity}\nsystem: {one.system}\nuser: {one.user}\nanswer begins: {one.answer}\n")
