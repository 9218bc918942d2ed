"""The papers by their keys: `references.bib` beside this file, as citations and as BibTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from whet.core.errors import unknown


@dataclass(frozen=True)
class Reference:
    """One entry of `references.bib`."""

    key: str
    title: str
    authors: tuple[str, ...]
    year: str
    bibtex: str

    @property
    def citation(self) -> str:
        """Return the authors' family names, the year and the title.

        >>> get("li2017filters").citation
        'Li et al. 2017, Pruning Filters for Efficient ConvNets'
        >>> get("yu2019slimmable").citation
        'Yu and Huang 2019, Universally Slimmable Networks and Improved Training Techniques'
        """
        names = [author.partition(",")[0] for author in self.authors]
        who = " and ".join(names) if len(names) < 3 and "others" not in names else f"{names[0]} et al."
        return f"{who} {self.year}, {self.title}"


def _entry(text: str) -> Reference:
    key = text.partition("{")[2].partition(",")[0]
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", text, re.MULTILINE))
    return Reference(key, fields["title"], tuple(fields["author"].split(" and ")), fields["year"], text.strip())


@cache
def entries() -> dict[str, Reference]:
    """Return every paper by its key."""
    text = Path(__file__).with_name("references.bib").read_text(encoding="utf-8")
    return {entry.key: entry for entry in map(_entry, re.split(r"\n(?=@)", text.strip()))}


def get(key: str) -> Reference:
    """Return the paper of a key."""
    if key not in entries():
        raise unknown("reference", key, entries())
    return entries()[key]
