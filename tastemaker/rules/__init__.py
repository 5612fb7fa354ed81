"""Business rules as data: what may be shown to whom, what is moved, pinned, capped or filled up. See docs/rules.md."""

from tastemaker.rules.arranging import Arranged
from tastemaker.rules.asking import Context, Shopper
from tastemaker.rules.columns import CatalogueColumns
from tastemaker.rules.document import Rule, RuleSet
from tastemaker.rules.notes import Note
from tastemaker.rules.planning import CompiledRules, Plan, compile_rules, plan
from tastemaker.rules.schema import Selection

__all__ = [
    "Arranged",
    "CatalogueColumns",
    "CompiledRules",
    "Context",
    "Note",
    "Plan",
    "Rule",
    "RuleSet",
    "Selection",
    "Shopper",
    "compile_rules",
    "plan",
]
