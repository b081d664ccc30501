"""`Partition`: an equivalence relation on the vocabulary, and how two of them compare."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from isologit.numerics.formats import Format
    from isologit.numerics.stored import Matrix, Vector

TokenIds = npt.NDArray[np.int32]
Relation = Literal["identical", "contains", "contained", "partial", "disjoint"]


def token_mask(token_ids: TokenIds, n_tokens: int) -> npt.NDArray[np.bool_]:
    """Return which of V tokens are in a list, ``[V]``."""
    mask = np.zeros(n_tokens, dtype=np.bool_)
    mask[token_ids] = True
    return mask


@dataclass(frozen=True)
class Overlap:
    """How two sets of tokens, a and b, overlap.

    Parameters
    ----------
    a, b
        Sizes of the sets.
    both
        Size of the intersection.
    """

    a: int
    b: int
    both: int

    @classmethod
    def of(cls, left: npt.ArrayLike, right: npt.ArrayLike) -> "Overlap":
        """Compare two lists of distinct token ids."""
        left, right = np.asarray(left), np.asarray(right)
        both = np.intersect1d(left, right, assume_unique=True)
        return cls(len(left), len(right), len(both))

    @property
    def only_a(self) -> int:
        """Tokens of a alone."""
        return self.a - self.both

    @property
    def only_b(self) -> int:
        """Tokens of b alone."""
        return self.b - self.both

    @property
    def relation(self) -> Relation:
        """What a is to b: it ``contains`` b where b is a proper part of a."""
        if self.both == self.a == self.b:
            return "identical"
        if self.both == 0:
            return "disjoint"
        if self.both == self.b:
            return "contains"
        if self.both == self.a:
            return "contained"
        return "partial"

    @property
    def share_of_a(self) -> float:
        """The part of a that lies in b; 0 where a is empty."""
        return self.both / self.a if self.a else 0.0

    @property
    def share_of_b(self) -> float:
        """The part of b that lies in a; 0 where b is empty."""
        return self.both / self.b if self.b else 0.0


# Sizes that a partition shows of itself.
_SIZES_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """An equivalence relation on V tokens, as an immutable array of class labels.

    Labels are canonical: classes are numbered by their smallest token id, so equal relations have
    equal arrays. Make one with the ``of_`` methods.

    Parameters
    ----------
    labels
        ``[V]`` int32, canonical.
    """

    labels: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        labels = np.ascontiguousarray(self.labels, dtype=np.int32).view()
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        # Canonical: each label is at most one above all labels before it, starting at 0.
        if len(labels):
            ceiling = np.maximum.accumulate(labels)
            if labels[0] != 0 or (labels[1:] > ceiling[:-1] + 1).any() or labels.min() < 0:
                raise ValueError("labels are not canonical; use Partition.of_keys")

    @classmethod
    def of_keys(cls, keys: npt.ArrayLike) -> "Partition":
        """Group tokens by equal keys: ``[V]`` of any type that numpy sorts and compares."""
        from isologit.numerics.kernels import first_occurrence_labels

        keys = np.asarray(keys)
        if keys.dtype in (np.uint64, np.int64):
            return cls(first_occurrence_labels(keys.view(np.uint64)))
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
        return cls(rank[inverse])

    @classmethod
    def of_values(cls, values: npt.ArrayLike) -> "Partition":
        """Group tokens by equal binary64 values; −0 equals +0, and all NaNs are one class."""
        folded = np.asarray(values, dtype=np.float64) + 0.0
        folded[np.isnan(folded)] = np.nan
        return cls.of_keys(folded.view(np.uint64))

    @classmethod
    def of_rows(cls, matrix: "Matrix", bias: "Vector | None" = None) -> "Partition":
        """Group tokens whose rows (and biases) are bit-identical. Exact."""
        from isologit.equivalence.rows import row_classes

        return row_classes(matrix, bias).bits

    @classmethod
    def of_logits(
        cls, matrix: "Matrix", hidden_state: "Vector", logit_format: "Format | None" = None
    ) -> "Partition":
        """Group tokens with equal exact logits at a hidden state (W's format unless given)."""
        from isologit.numerics import exact

        logit_format = logit_format or matrix.format
        return cls.of_values(exact.logits(matrix, hidden_state, logit_format).values)

    @classmethod
    def of_cosines(
        cls, matrix: "Matrix", reference: "Vector", cosine_format: "Format | None" = None
    ) -> "Partition":
        """Group tokens with equal exact cosines; rows without a cosine are one class."""
        from isologit.numerics import exact

        cosine_format = cosine_format or matrix.format
        return cls.of_values(exact.cosines(matrix, reference, cosine_format).values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partition):
            return NotImplemented
        return np.array_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash(self.labels.tobytes())

    def __repr__(self) -> str:
        largest = f", the largest {self._largest()}" if self.n_classes < self.n_tokens else ""
        return (
            f"<Partition of {self.n_tokens:,} tokens: {self.n_classes:,} classes, "
            f"{np.count_nonzero(self._sizes > 1):,} of two or more{largest}>"
        )

    def _repr_html_(self) -> str:
        figures = {
            "tokens": f"{self.n_tokens:,}",
            "classes": f"{self.n_classes:,}",
            "of two or more": f"{np.count_nonzero(self._sizes > 1):,}",
            "the largest": self._largest(),
        }
        left = ' style="text-align:left"'
        rows = "".join(
            f'<tr><th scope="row"{left}>{name}</th><td{left}>{figure}</td></tr>'
            for name, figure in figures.items()
        )
        return f"<table><caption>Partition</caption>{rows}</table>"

    def _largest(self) -> str:
        """Return the sizes of the largest classes."""
        sizes = np.sort(self._sizes)[::-1]
        more = ", …" if len(sizes) > _SIZES_SHOWN else ""
        return ", ".join(f"{size:,}" for size in sizes[:_SIZES_SHOWN].tolist()) + more

    @property
    def n_tokens(self) -> int:
        """V."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """How many classes there are, singletons included."""
        return len(self.sizes())

    @cached_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.labels).astype(np.int64)

    @cached_property
    def _by_label(self) -> tuple[TokenIds, npt.NDArray[np.int64]]:
        order = np.argsort(self.labels, kind="stable").astype(np.int32)
        return order, np.concatenate([[0], np.cumsum(self._sizes)])

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return the size of each class, by label."""
        return self._sizes

    def firsts(self) -> TokenIds:
        """Return the smallest token id of each class, by label."""
        # Canonical labels grow by one wherever a new class begins.
        ceiling = np.maximum.accumulate(self.labels)
        return np.flatnonzero(np.diff(ceiling, prepend=-1)).astype(np.int32)

    def n_others(self) -> npt.NDArray[np.int64]:
        """Return how many other tokens each token's class has, ``[V]``."""
        return self._sizes[self.labels] - 1

    def members(self, label: int) -> TokenIds:
        """Return the token ids of a class, ascending."""
        order, bounds = self._by_label
        return order[bounds[label] : bounds[label + 1]]

    def mode(self) -> int:
        """Return the label of the largest class; of equal sizes the smaller label."""
        return int(np.argmax(self._sizes))

    def groups(self, smallest: int = 2) -> list[TokenIds]:
        """Return the classes of at least this size, largest first, then by smallest id."""
        labels = np.flatnonzero(self._sizes >= smallest)
        labels = labels[np.argsort(-self._sizes[labels], kind="stable")]
        return [self.members(int(label)) for label in labels]

    def meet(self, other: "Partition") -> "Partition":
        """Return the coarsest relation that refines both: equal here and equal there."""
        self._same_vocabulary(other)
        return Partition.of_keys(self.labels.astype(np.int64) * other.n_classes + other.labels)

    def refines(self, other: "Partition") -> bool:
        """Return whether tokens equal here are equal there."""
        return self.meet(other).n_classes == self.n_classes

    def compare(self, other: "Partition", label: int, other_label: int) -> Overlap:
        """Compare one class of this relation with one of another."""
        self._same_vocabulary(other)
        return Overlap.of(self.members(label), other.members(other_label))

    def _same_vocabulary(self, other: "Partition") -> None:
        if self.n_tokens != other.n_tokens:
            raise ValueError(f"partitions of {self.n_tokens} and of {other.n_tokens} tokens")
