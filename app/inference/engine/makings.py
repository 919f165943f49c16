"""Things in the making from components, and whether a deletion has overtaken them."""

from collections.abc import Collection
from weakref import WeakSet


class Making:
    """One thing in the making; it is not to be kept once `is_overtaken`."""

    def __init__(self, shas: Collection[str]) -> None:
        self.shas = frozenset(shas)
        self.is_overtaken = False


class Makings:
    """The things of one memory that are in the making; every call is made under its lock.

    A deletion overtakes only what has one of its components in it: under deletions of others, one
    after the other, each thing is made once all the same.
    """

    def __init__(self) -> None:
        self._under_way: WeakSet[Making] = WeakSet()  # of those that their makers still hold

    def begin(self, shas: Collection[str]) -> Making:
        """Begin to make a thing from the components with these SHA-256."""
        making = Making(shas)
        self._under_way.add(making)
        return making

    def overtake(self, shas: Collection[str]) -> None:
        """Overtake what has one of these components in it."""
        gone = frozenset(shas)
        for making in self._under_way:
            if making.shas & gone:
                making.is_overtaken = True

    def have(self, shas: Collection[str]) -> bool:
        """Return whether one that is to be kept has one of these components in it."""
        gone = frozenset(shas)
        return any(making.shas & gone and not making.is_overtaken for making in self._under_way)

    def overtake_all(self) -> None:
        """Overtake everything that has begun."""
        for making in self._under_way:
            making.is_overtaken = True
