"""What became of the classes of one partition in another: born, dissolved, merged, split and so on.

A class here is one of at least two tokens; a token of no such class is single. Of two partitions of
one vocabulary, *before* and *after*, draw the graph whose nodes are the classes of both and whose
edges join a class of before and a class of after that share a token. A class has a degree in it:
how many classes of the other side its tokens lie in. Each class is of exactly one kind a side:

    ===========  ======  ========  =============================================================
    kind         of      degree    what it is
    ===========  ======  ========  =============================================================
    born         after   0         all of its tokens were single
    dissolved    before  0         all of its tokens are single now
    merged       after   2 and up  it holds tokens of two classes of before, or more
    split        before  2 and up  its tokens lie in two classes of after, or more
    absorbed     before  1         the one class that it shares tokens with is merged
    fragment     after   1         the one class that it shares tokens with is split
    persistent   both    1         the same set of tokens in both
    grown        both    1         a proper part of the other: single tokens came, none left
    shrunk       both    1         the other is a proper part of it: tokens left and are single now
    exchanged    both    1         single tokens came, and tokens left and are single now
    ===========  ======  ========  =============================================================

Exhaustive and exclusive: a degree is 0, 1, or 2 and up. At degree 1 there is one neighbour, whose
degree is 1, or 2 and up. Where both have degree 1 they are a pair c, d that shares tokens with
nothing else, so that the tokens of c outside of d are single now and those of d outside of c were
single; which of these two sets are empty makes the last four kinds. Exchanging before and after
turns the graph around, and so born and dissolved, merged and split, absorbed and fragment, grown
and shrunk change places.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition, TokenIds

#: The kinds of classes of before, of after, and of pairs, one class of each.
OF_BEFORE = ("dissolved", "split", "absorbed")
OF_AFTER = ("born", "merged", "fragment")
OF_BOTH = ("persistent", "grown", "shrunk", "exchanged")

Labels = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Transitions:
    """The kind of every class of two partitions; see the module. Largest first, then by label.

    Parameters
    ----------
    before, after
        The partitions, of the same V tokens.
    dissolved, split, absorbed
        Labels of classes of `before`.
    born, merged, fragment
        Labels of classes of `after`.
    persistent, grown, shrunk, exchanged
        Pairs of labels, of `before` and of `after`; by the size of the larger of the two.
    """

    before: Partition
    after: Partition
    dissolved: Labels
    split: Labels
    absorbed: Labels
    born: Labels
    merged: Labels
    fragment: Labels
    persistent: Pairs
    grown: Pairs
    shrunk: Pairs
    exchanged: Pairs

    def n_changed(self) -> int:
        """Return how many tokens have not the same others beside them as before."""
        together = self.before.meet(self.after).n_others()
        same = (self.before.n_others() == together) & (self.after.n_others() == together)
        return int(self.before.n_tokens - same.sum())


@dataclass(frozen=True, eq=False)
class Parts:
    """What a class is made of, by another partition.

    Parameters
    ----------
    shared
        For each class of the other partition, of two tokens or more, its label and the tokens
        that both have; most tokens first.
    single
        Tokens that are single in the other partition.
    """

    shared: tuple[tuple[int, TokenIds], ...]
    single: TokenIds


def transitions(before: Partition, after: Partition) -> Transitions:
    """Find the kind of every class of at least two tokens in two partitions. Exact.

    Parameters
    ----------
    before, after
        Of the same tokens.

    Raises
    ------
    ValueError
        They are of different numbers of tokens.
    """
    if before.n_tokens != after.n_tokens:
        raise ValueError(f"partitions of {before.n_tokens} and of {after.n_tokens} tokens")
    old_sizes, new_sizes = before.sizes(), after.sizes()
    in_both = (before.n_others() > 0) & (after.n_others() > 0)
    # A row an edge: the labels at its ends, and how many tokens make it.
    edges, shared = np.unique(
        np.stack([before.labels[in_both], after.labels[in_both]], axis=1),
        axis=0,
        return_counts=True,
    )
    old, new = edges[:, 0], edges[:, 1]
    old_degrees = np.bincount(old, minlength=len(old_sizes))
    new_degrees = np.bincount(new, minlength=len(new_sizes))
    alone = (old_degrees[old] == 1) & (new_degrees[new] == 1)
    left, came = old_sizes[old] > shared, new_sizes[new] > shared

    def labels(sizes: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> Labels:
        found = np.flatnonzero(chosen & (sizes >= 2))
        return tuple(found[np.argsort(-sizes[found], kind="stable")].tolist())

    def pairs(chosen: npt.NDArray[np.bool_]) -> Pairs:
        places = np.flatnonzero(alone & chosen)
        larger = np.maximum(old_sizes[old[places]], new_sizes[new[places]])
        # np.unique has them by the label of before.
        places = places[np.argsort(-larger, kind="stable")]
        return tuple(zip(old[places].tolist(), new[places].tolist(), strict=True))

    absorbed, fragment = np.zeros((2, max(len(old_sizes), len(new_sizes))), dtype=np.bool_)
    absorbed[old[(old_degrees[old] == 1) & (new_degrees[new] >= 2)]] = True
    fragment[new[(new_degrees[new] == 1) & (old_degrees[old] >= 2)]] = True
    return Transitions(
        before=before,
        after=after,
        dissolved=labels(old_sizes, old_degrees == 0),
        split=labels(old_sizes, old_degrees >= 2),
        absorbed=labels(old_sizes, absorbed[: len(old_sizes)]),
        born=labels(new_sizes, new_degrees == 0),
        merged=labels(new_sizes, new_degrees >= 2),
        fragment=labels(new_sizes, fragment[: len(new_sizes)]),
        persistent=pairs(~left & ~came),
        grown=pairs(~left & came),
        shrunk=pairs(left & ~came),
        exchanged=pairs(left & came),
    )


def parts_of(token_ids: TokenIds, other: Partition) -> Parts:
    """Return how another partition has the tokens of a class.

    Parameters
    ----------
    token_ids
        ``[n]``, ascending.
    other
        A partition of the same vocabulary.
    """
    labels = other.labels[token_ids]
    single = other.sizes()[labels] == 1
    found, counts = np.unique(labels[~single], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shared = tuple((int(label), token_ids[labels == label]) for label in found[order])
    return Parts(shared, token_ids[single])
