"""`LastKnown`: what was found out about a network is kept until the network changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import fx

from whet.core.net import Net

Found = TypeVar("Found")


class Only:
    """Equal to itself where it stands for the same object, whatever that object calls equal; it keeps it alive.

    >>> a, b = [1], [1]
    >>> Only(a) == Only(a), Only(a) == Only(b)
    (True, False)
    """

    def __init__(self, item: object) -> None:
        self.item = item

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Only) and self.item is other.item

    def __hash__(self) -> int:
        return id(self.item)


class LastKnown(Generic[Found]):
    """Keeps for each network, as long as it lives, what was made of it last, and the version that it was made of."""

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[fx.GraphModule, tuple[object, Found]] = WeakKeyDictionary()

    def of(self, net: Net, version: object, make: Callable[[], Found]) -> Found:
        """Return what is known of a network in a version, made anew where it is not of this one."""
        if net.module not in self._held or self._held[net.module][0] != version:
            self._held[net.module] = version, make()
        return self._held[net.module][1]


def weights_version(net: Net) -> int:
    """Return a number that rises whenever a parameter or a buffer is changed in place."""
    return sum(tensor._version for tensor in net.module.state_dict().values())
