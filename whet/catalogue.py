"""Every method: name, place, paper, family and status, from the rows of `method_rows.py`. Nothing is imported.

`make("width(tie='network')")` makes one from words, as the command line has them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from whet import references
from whet.core.errors import MethodError, unknown
from whet.method_rows import MISSING, REACH, ROWS
from whet.words import options


@dataclass(frozen=True)
class Method:
    """One row. `where` is `module:attribute`; `paper` is a key of `references.bib`, empty where the method has none.

    `missing` says what a method lacks: between it and a command, where only Python comes to it, or of its paper.
    """

    name: str
    where: str
    family: str
    paper: str = ""
    status: Literal["trial", "stable"] = "trial"
    missing: str = ""

    @property
    def reach(self) -> str:
        """How a user comes to it: words of a command, `default of the search`, or what to call in Python."""
        short = next((s for s, (row, options) in SHORT.items() if row == self.name and not options), "")
        several = [s for s, (row, options) in SHORT.items() if row == self.name and options]
        name = short or "|".join(several) or self.name.partition(".")[2]
        called = self.where.replace(":", ".") + "(...)"
        return REACH.get(self.name) or (ASKED_FOR[self.family].format(name) if self.family in ASKED_FOR else called)

    @property
    def citation(self) -> str:
        """The paper as it is cited, empty where the method has none."""
        return references.get(self.paper).citation if self.paper else ""

    def load(self) -> Any:
        """Import the module of the row and return what the row names in it."""
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)


ASKED_FOR = {
    "pass": "whet optimize --passes {}",
    "strategy": "whet optimize --strategy {}",
    "surrogate": "whet optimize --strategy \"bayesian(model='{}')\"",
    "optimizer": "whet optimize --recipe \"optimizer='{}'\"",
    "task": "whet optimize --task {}",
    "network": "whet optimize {} --task TASK",
    "runtime": "whet measure --target {}-cpu",
    "agent": "whet agent train {} --env CartPole-v1",
}
"""How methods of a family are asked for, by name, in the place of the braces."""
PARTS = ("task", "network", "runtime")
"""Families that are no methods but what methods work on."""
METHODS = tuple(Method(*row, missing=MISSING.get(row[0], "")) for row in ROWS)


SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "quantize": ("quantize.static", {}),
    "tpe": ("search.optuna", {"sampler": "tpe"}),
    "gp": ("search.optuna", {"sampler": "gp"}),
    "nsga2": ("search.optuna", {"sampler": "nsga2"}),
    "nsga3": ("search.optuna", {"sampler": "nsga3"}),
    "cmaes": ("search.optuna", {"sampler": "cmaes"}),
}
"""Names beside those of the rows: the row and the options that they stand for."""
DEFAULT_PASSES = {
    "speed": ("depth", "width", "quantize"),
    "size": ("depth", "width", "quantize", "weight-only"),
    "memory": ("depth", "width", "quantize", "weight-only"),
}
"""What is searched for each objective where no passes are given."""
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
WORDS = re.compile(r"\s*([\w.-]+)\s*(\(.*\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A method and the options that it was asked for with."""

    method: Method
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Make it; the words' options come before those of the caller.

        Raises: MethodError for an option that the method does not have, or one that it needs and did not get.
        """
        item = self.method.load()
        takes = inspect.signature(item).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            for name in self.options:
                if name not in takes:
                    raise MethodError(f"'{self.method.name}': {unknown('option', name, takes)}")
        left = [n for n, p in list(takes.items())[len(given) :] if p.default is p.empty and p.kind in NAMED]
        if needed := [n for n in left if n not in {**more, **self.options}]:
            short = self.method.name.partition(".")[2]
            raise MethodError(f"'{short}' needs {', '.join(needed)}: write \"{short}({needed[0]}=...)\".")
        return item(*given, **{**more, **self.options})


def names(*families: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what methods of these families may be called, without the name of their folder, short names too.

    >>> "width" in names("pass"), "quantize" in names("pass"), names("strategy")["tpe"]
    (True, True, ('search.optuna', {'sampler': 'tpe'}))
    """
    rows = {m.name: m for m in METHODS if m.family in families}
    variants = {row for row, options in SHORT.values() if options}
    own = {name.partition(".")[2]: (name, dict[str, Any]()) for name in rows if name not in variants}
    return own | {short: named for short, named in SHORT.items() if named[0] in rows}


def default_passes(objectives: Iterable[str]) -> tuple[str, ...]:
    """Return the passes that are searched for some objectives where none are given."""
    return tuple(dict.fromkeys(name for objective in objectives for name in DEFAULT_PASSES.get(objective, ())))


def read(words: str, *families: str) -> Call:
    """Return the method, and its options, that words such as `width(tie='network')` name; of all families by default.

    A name is a row's, with or without its folder. Nothing is imported.
    Raises: UnknownNameError for the name; MethodError for words that are no name with `option=value` in parentheses.
    """
    families = families or tuple(dict.fromkeys(m.family for m in METHODS))
    found, short = WORDS.fullmatch(words), names(*families)
    if found is None:
        raise MethodError(f"'{words}' cannot be read: write a name, or NAME(option=value, ...).")
    name, given = found[1], options(found[2] or "()", words)
    whole = {m.name: (m.name, dict[str, Any]()) for m in METHODS if m.family in families}
    if name not in short | whole:
        raise unknown(families[0] if len(families) == 1 else "method", name, _shown(short | whole, name))
    row, always = (short | whole)[name]
    return Call(get(row), {**always, **given})


def _shown(known: Collection[str], name: str) -> list[str]:
    return [n for n in known if ("." in n) == ("." in name)]


def make(words: str, *families: str) -> Any:
    """Return what words name, made with their options: `make("width(tie='network')")`.

    >>> make("depth(tie='network')", "pass")
    Depth(tie='network', samples=128)
    """
    return read(words, *families)()


def get(name: str) -> Method:
    """Return the row of a method."""
    rows = {m.name: m for m in METHODS}
    if name not in rows:
        raise unknown("method", name, rows)
    return rows[name]
