"""What was computed, kept while there is room: each thing once, whoever asks for it and when."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Condition
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Kept(Generic[_K, _V]):
    """The last values that were asked for.

    A second thread that asks for what a first is computing waits for it, and does not compute it
    too. What fails is not kept: each that waits tries for itself.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._under_way: set[_K] = set()
        self._changed = Condition()

    def get(self, key: _K, compute: Callable[[], _V]) -> _V:
        """Return the value of a key, computed if it is not there."""
        with self._changed:
            while key in self._under_way:
                self._changed.wait()
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            self._under_way.add(key)
        try:
            value = compute()
        except BaseException:
            with self._changed:
                self._under_way.discard(key)
                self._changed.notify_all()
            raise
        with self._changed:
            self._under_way.discard(key)
            self._values[key] = value
            while len(self._values) > self._at_most:
                self._values.popitem(last=False)
            self._changed.notify_all()
        return value

    def __len__(self) -> int:
        return len(self._values)
