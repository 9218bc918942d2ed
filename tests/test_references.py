"""Papers by their keys: how they are cited."""

import pytest

from whet import references
from whet.core.errors import UnknownNameError
from whet.references import Reference


@pytest.mark.parametrize(
    ("authors", "who"),
    [
        (("Li, Hao",), "Li"), (("Yu, Jiahui", "Huang, Thomas"), "Yu and Huang"),
        (("A, B", "C, D", "E, F"), "A et al."), (("A, B", "others"), "A et al."),
    ],
)  # fmt: skip
def test_two_authors_are_named_and_of_more_the_first(authors: tuple[str, ...], who: str) -> None:
    assert Reference("key", "Title", authors, "2020", "").citation == f"{who} 2020, Title"


def test_every_entry_has_its_fields_and_its_own_text() -> None:
    entries = references.entries()
    assert len(entries) > 20
    for key, entry in entries.items():
        assert entry.title and entry.authors and entry.year.isdecimal() and len(entry.year) == 4, key
        assert entry.bibtex.startswith("@") and "{" + key + "," in entry.bibtex


def test_a_misspelt_key_is_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'li2017filters'"):
        references.get("li2017filter")
