"""`tastemaker prompts`: the prompts that language models get, versioned and hashed, and one filled in for a shopper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tastemaker.cli import options
from tastemaker.cli.loading import read_data
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.text.prompting.filled import Filler
from tastemaker.text.prompting.prompt_list import places_of, templates
from tastemaker.text.prompting.wordings import WORDINGS

if TYPE_CHECKING:
    from tastemaker.text.prompting.prompts import Template


def prompts(
    name: str | None = typer.Argument(None, help="A template, e.g. palr-choose; without it all are listed."),
    data: str | None = typer.Option(
        None, "--data", metavar="DIR", help="Fill the template in for a shopper of these data."
    ),
    user: str | None = typer.Option(
        None, "--user", metavar="ID", help="Which shopper; the one with the longest history by default."
    ),
    wish: str = typer.Option("", "--wish", metavar="TEXT", help="A wish to show in prompts that have a place for it."),
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """List every prompt template with its identity and purpose, show one, or show one filled in for a real shopper."""
    known = templates()
    if name is None:
        if data is not None or user is not None or wish:
            raise ConfigError("prompts: name the template to fill in, e.g. tastemaker prompts palr-choose --data DIR")
        _list(list(known.values()), json=json)
        return
    if name in WORDINGS:  # the setting names a wording, which has three forms
        name = WORDINGS[name].choose.name
    if name not in known:
        raise ConfigError(f"prompts: no template is called '{name}'{did_you_mean(name, known)}")
    template = known[name]
    if data is None:
        if user is not None or wish:
            raise ConfigError("prompts: --user and --wish need --data, the shop to take the shopper from")
        _show(template, json=json)
        return
    if wish and "wish" not in places_of(template):
        raise ConfigError(f"prompts: --wish: {name} has no place for a wish; leave it out")
    shop, _ = read_data(data, format=format, max_bad=max_bad)
    filler = Filler(shop)
    shopper = filler.shopper(user)
    prompt = filler.fill(template, shopper, wish=wish)
    filled = {"system": prompt.system, "user": prompt.user, "answer": prompt.answer}
    if json:
        print_json({"identity": template.identity, "user_id": shop.users.ids([shopper])[0], **filled})
        return
    note(f"note: {template.identity}, for shopper {shop.users.ids([shopper])[0]}, with all that is known of them")
    _print(filled)


def _list(found: list[Template], *, json: bool) -> None:
    if json:
        print_json([_facts(template) for template in found])
        return
    print_table(["template", "identity", "purpose"], [[one.name, one.identity, one.purpose] for one in found])


def _show(template: Template, *, json: bool) -> None:
    if json:
        print_json(_facts(template))
        return
    note(f"note: {template.identity}: {template.purpose}")
    _print({"system": template.system, "user": template.user, "answer": template.answer})


def _print(parts: dict[str, str]) -> None:
    """Print a prompt as the model gets it, part by part."""
    for part, text in parts.items():
        if text:
            typer.echo(f"{'answer begins' if part == 'answer' else part}:\n{text}\n")


def _facts(template: Template) -> dict[str, object]:
    return {
        "name": template.name,
        "identity": template.identity,
        "purpose": template.purpose,
        "places": places_of(template),
        "system": template.system,
        "user": template.user,
        "answer": template.answer,
    }
