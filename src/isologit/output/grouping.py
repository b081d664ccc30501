"""Groupings: the tokens of an audit in a few groups that do not overlap, for figures to colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isologit.numerics.formats import Float64s
from isologit.output import palette
from isologit.output.pictured import Mask, Pictured
from isologit.table_words import Codes, Words
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES
from isologit.tokens.table import CATEGORY_WORDS

# Scripts that get a colour of their own.
_MOST_SCRIPTS = 7
# Bounds of norms: the least and the largest hundredth of tokens show beside the many.
_QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_NO_NORM = "no number"


@dataclass(frozen=True)
class Group:
    """A group of tokens: its name, and what its marks look like."""

    name: str
    colour: str
    symbol: str = "circle"

    @property
    def in_front(self) -> bool:
        """Whether its marks hide those of others: the accents' do."""
        return self.colour in (palette.CLUSTER, palette.MODAL)


@dataclass(frozen=True, eq=False)
class Grouping:
    """Every token in one of a few groups.

    Parameters
    ----------
    title
        What tells the groups apart: ``script``.
    groups
        In the order of a legend; each has a token.
    codes
        ``[V]`` the group of each token.
    """

    title: str
    groups: tuple[Group, ...]
    codes: Codes

    @property
    def sizes(self) -> list[int]:
        """How many tokens each group has."""
        return list(map(int, np.bincount(self.codes, minlength=len(self.groups))))

    @classmethod
    def of(cls, title: str, groups: Sequence[Group], codes: Codes) -> "Grouping":
        """Leave out groups without a token."""
        occurs = np.bincount(codes, minlength=len(groups)) > 0
        place = np.cumsum(occurs) - 1
        kept = tuple(group for group, there in zip(groups, occurs, strict=True) if there)
        return cls(title, kept, place[codes])


def colourings(audit: Pictured) -> list[Grouping]:
    """Return all that a map can be coloured by, by class first."""
    every = (by_class(audit), by_category(audit), by_script(audit), by_norm(audit))
    return [each for each in every if each is not None]


def by_class(audit: Pictured) -> Grouping:
    """Tell apart the cluster and the most common logit, the seed's two, and shared rows elsewhere.

    Where no two logits are equal, the most common one is no class.
    """
    cluster = in_cluster(audit)
    modal = in_modal_class(audit)
    shared = audit.row_class_sizes > 1
    groups = (
        Group("cluster, most common logit", palette.CLUSTER, "diamond"),
        Group("cluster, other logits", palette.CLUSTER, "diamond-open"),
        Group("most common logit, not cluster", palette.MODAL, "triangle-up"),
        Group("shares its row, neither", palette.SHARED, "square"),
        Group("others", palette.REST),
    )
    codes = np.select([cluster & modal, cluster, modal, shared], [0, 1, 2, 3], 4)
    return Grouping.of("class", groups, codes)


def by_category(audit: Pictured) -> Grouping | None:
    """Tell apart the seven categories; None without a tokenizer."""
    if audit.categories is None:
        return None
    looks = zip(CATEGORIES, palette.FEW, palette.SYMBOLS[1:], strict=False)
    groups = [Group(CATEGORY_WORDS[name], colour, symbol) for name, colour, symbol in looks]
    groups[CATEGORIES.index("ordinary")] = Group("ordinary", palette.REST)
    return Grouping.of("category", groups, audit.categories.codes)


def by_script(audit: Pictured) -> Grouping | None:
    """Tell apart the most common scripts; None without a tokenizer."""
    words = audit.scripts
    if words is None:
        return None
    named = words.names[:_MOST_SCRIPTS]
    looks = zip(named, palette.FEW, palette.SYMBOLS, strict=False)
    groups = [Group(name.replace("_", " "), colour, symbol) for name, colour, symbol in looks]
    groups += [
        Group(_others(words), palette.REST, "hexagon"),
        Group("no text alone", palette.REST, "circle-open"),
    ]
    rest = len(named)
    codes = np.where(words.codes < 0, rest + 1, np.minimum(words.codes, rest))
    return Grouping.of("script", groups, codes)


def by_norm(audit: Pictured) -> Grouping:
    """Tell apart norms, in bins between their percentiles; a bin is named by what is in it."""
    norms = audit.norms
    finite = np.isfinite(norms)
    numbers = norms[finite]
    if not len(numbers):
        groups = [Group(_NO_NORM, palette.REST, "circle-open")]
        return Grouping.of("norm", groups, np.zeros(len(norms), np.int64))
    edges = np.unique(np.quantile(numbers, _QUANTILES, method="lower"))
    edges = edges[edges < numbers.max()]
    codes = np.where(finite, np.searchsorted(edges, norms), len(edges) + 1)
    # From the first colour to the last, however few there are.
    picked = np.linspace(0, len(palette.SCALE) - 1, len(edges) + 1).round().astype(int)
    groups = [
        Group(_range(norms[codes == n]), palette.SCALE[look], palette.SYMBOLS[look])
        for n, look in enumerate(picked.tolist())
    ]
    return Grouping.of("norm", [*groups, Group(_NO_NORM, palette.REST, "circle-open")], codes)


def by_training(audit: Pictured) -> Grouping:
    """Tell apart the cluster, rows with signs of no training elsewhere, padding and the rest."""
    nowhere = np.zeros(audit.n_tokens, np.bool_)
    graded = nowhere if audit.grades is None else audit.grades.codes >= GRADES.index("likely")
    padding = nowhere
    if audit.categories is not None:
        padding = audit.categories.codes == CATEGORIES.index("padding")
    groups = (
        Group("cluster", palette.CLUSTER, "diamond"),
        Group("strong or likely, not cluster", palette.FEW[0], "square"),
        Group("padding, neither", palette.FEW[1], "triangle-up"),
        Group("others", palette.REST),
    )
    codes = np.select([in_cluster(audit), graded, padding], [0, 1, 2], 3)
    return Grouping.of("signs of no training", groups, codes)


def in_cluster(audit: Pictured) -> Mask:
    """Return which tokens are in the cluster; none where there is none."""
    none = np.zeros(audit.n_tokens, np.bool_)
    return none if audit.in_cluster is None else audit.in_cluster


def in_modal_class(audit: Pictured) -> Mask:
    """Return which tokens have the most common logit; none where no two logits are equal.

    Of logits that are no numbers, none is the most common one either.
    """
    modal = audit.in_modal_class & ~np.isnan(audit.logits)
    return modal if np.count_nonzero(modal) > 1 else np.zeros_like(modal)


def _others(words: Words) -> str:
    further = len(words.names) - _MOST_SCRIPTS
    return f"{further} more scripts" if further > 1 else "another script"


def _range(values: Float64s) -> str:
    low, high = (f"{value:.4g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
