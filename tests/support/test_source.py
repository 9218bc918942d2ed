"""What is read from sources is what the objects say of themselves once they are imported."""

from __future__ import annotations

import inspect

import pytest

from whet import catalogue
from whet.support.source import described


@pytest.mark.parametrize("method", catalogue.METHODS, ids=lambda m: m.name)
def test_documentation_and_parameters_are_those_of_the_object(method: catalogue.Method) -> None:
    found, item = described(method.where), method.load()
    assert found.doc == inspect.getdoc(item)
    signature = inspect.signature(item)
    assert found.names == tuple(signature.parameters)
    assert ("*, " in found.parameters) == ("*, " in str(signature))
    defaults = [p for p in signature.parameters.values() if p.default is not p.empty]
    assert found.parameters.count(" = ") >= len(defaults)


def test_what_is_defined_nowhere_is_told() -> None:
    with pytest.raises(LookupError, match=r"'whet\.support.source:nothing' is defined nowhere"):
        described("whet.support.source:nothing")
