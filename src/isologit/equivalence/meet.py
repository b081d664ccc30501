"""The meet of many logit partitions: tokens that no state of many told apart."""

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition


class LogitMeet:
    """A meet that grows state by state, and asks only for tokens that still share a class.

    A token that is alone stays alone, so its logits at later states change nothing. Exact, if the
    logits are.
    """

    def __init__(self, labels: npt.NDArray[np.int32]) -> None:
        """Begin with a partition's labels ``[V]``: zeros where no state has been seen."""
        whole = Partition(labels)
        self.n_tokens = len(labels)
        #: ``[n]``, the tokens that share their class with another, ascending.
        self.tokens = np.flatnonzero(whole.n_others())
        self._labels = Partition.of_keys(whole.labels[self.tokens].astype(np.int64))
        self._n_alone = self.n_tokens - len(self.tokens)

    @classmethod
    def of_no_state(cls, n_tokens: int) -> "LogitMeet":
        """Return the coarsest relation: no token has been told from any other."""
        return cls(np.zeros(n_tokens, dtype=np.int32))

    @property
    def n_classes(self) -> int:
        """How many classes there are, those of one token among them."""
        return self._n_alone + self._labels.n_classes

    @property
    def n_shared(self) -> int:
        """How many classes have two tokens or more."""
        return self._labels.n_classes

    def add(self, logits: npt.ArrayLike) -> None:
        """Take in one more state, by the logits of `tokens`, ``[n]`` in their order."""
        self._labels = self._labels.meet(Partition.of_values(logits))
        others = self._labels.n_others()
        if others.all():
            return
        self._n_alone += int((others == 0).sum())
        self.tokens = self.tokens[others > 0]
        self._labels = Partition.of_keys(self._labels.labels[others > 0].astype(np.int64))

    def partition(self) -> Partition:
        """Return the relation on all tokens."""
        keys = np.arange(self.n_tokens, dtype=np.int64) + self.n_tokens
        keys[self.tokens] = self._labels.labels
        return Partition.of_keys(keys)
