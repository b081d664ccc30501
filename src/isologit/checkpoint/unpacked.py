"""The bytes of tensors that do not lie in their file as they are: unpacked when first asked for."""

from collections.abc import Callable, Iterator, Mapping


class Unpacked(Mapping[str, memoryview]):
    """The bytes of some tensors by name; each is made when first asked for, and then kept.

    Parameters
    ----------
    makers
        For each name, what returns its bytes; it may raise what `Container.read` may.
    """

    def __init__(self, makers: Mapping[str, Callable[[], memoryview]]) -> None:
        self._makers = makers
        self._made: dict[str, memoryview] = {}

    def __getitem__(self, name: str) -> memoryview:
        """Return the bytes of one; two threads that ask at once may both make them."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names; nothing is made."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._makers)
