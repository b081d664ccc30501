"""The reference set: rows that training did not touch, found and not registered by hand.

The candidates come with a reason that is no property of their rows: nothing in the tokenizer has
their id, no text holds their byte, their name is reserved, no text encodes to them. Each reason may
be wrong: reserved names get used, and what cannot be reached now may have been reached in training.
So only candidates that agree with each other and stand apart from the other tokens count, and they
are the *core* (`isologit.tokens.core`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.numerics.distances import square_distances
from isologit.numerics.formats import Float64s
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix
from isologit.tokens.core import Core, CoreSearch, Ids, Kind, drift, from_the_others, mean_of
from isologit.tokens.shells import FEWEST, Band, Shell
from isologit.tokens.windows import LEAST_RATIO

# Of the tokens that a band names, at most this share may be expected there by chance.
MOST_STRANGERS = 0.1

Mask = npt.NDArray[np.bool_]
By = Literal["names", "row classes", "cluster"]


@dataclass(frozen=True, eq=False)
class Reference:
    """The core of the reference set, or why there is none.

    Parameters
    ----------
    tokens
        How many tokens each source names; rows with an infinity or a NaN are not counted.
    why
        One sentence.
    core
        How many tokens of the core each source names.
    kind
        How they agree; None where there is no core.
    by
        What the core is made of: the candidates by their ``names``, ``row classes`` where they have
        none, or the most prominent ``cluster`` where these have none either.
    token_ids
        ``[n]`` int32, the core, ascending.
    mean
        ``[d]``, of the core; None where there is no core.
    has_direction
        Whether the mean can be told from the origin.
    centre
        ``[d]``, what distances are measured from: the mean, or the origin for a shell and where the
        mean cannot be told from it. None where there is no core.
    distances
        ``[V]`` from the centre; of a token of the core from the centre of the others in it, so that
        it compares with what is not in the core. NaN where there is no core, and of rows with an
        infinity or a NaN.
    band
        The distances at which further tokens of the population are expected.
    shell
        The core's distances from its mean, or from the origin where the mean cannot be told from
        it, beside what untouched rows would show.
    strangers
        An upper bound on how many tokens in the band, not of the core, are expected by chance.
    n_others, inside
        How many tokens were not used to find the band, and how many of these are in it.
    left_out
        How many tokens of each source are outside the band; zero rows are not counted.
    typical
        The median distance of such tokens outside the band.
    """

    tokens: Mapping[str, int]
    why: str
    core: Mapping[str, int] = field(default_factory=dict)
    kind: Kind | None = None
    by: By | None = None
    token_ids: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    mean: Float64s | None = None
    has_direction: bool = False
    centre: Float64s | None = None
    distances: Float64s = field(default_factory=lambda: np.empty(0))
    band: Band | None = None
    shell: Shell | None = None
    strangers: float = float("nan")
    n_others: int = 0
    inside: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    typical: float = float("nan")

    @property
    def is_clear(self) -> bool:
        """Whether the band names few tokens by chance; a shell may lie among trained rows."""
        return self.strangers <= MOST_STRANGERS * max(self.inside, 1)

    def names(self, source: str) -> bool:
        """Return whether few of a source's tokens in the band are there by chance.

        Of trained tokens a share q is in the band. Where k of the source's tokens are outside,
        about (k + 1)·q/(1 − q) of those inside are trained, one more than seen allowed for.
        """
        share = min(self.strangers / max(self.n_others, 1), 1.0)
        if not self.core.get(source) or not share < 1:
            return False
        trained = (self.left_out[source] + 1) * share / (1 - share)
        return bool(trained <= MOST_STRANGERS * self.core[source])

    @property
    def is_at_origin(self) -> bool:
        """Whether the core's centre cannot be told from the origin."""
        return self.centre is not None and not self.centre.any()


def find_reference(
    matrix: Matrix,
    norms: Float64s,
    candidates: Mapping[str, Mask],
    row_labels: npt.NDArray[np.int32],
    duplicated: Mask,
    clusters: Sequence[npt.NDArray[np.int32]],
) -> Reference:
    """Find the core among the candidates; else among row classes; else take the first cluster.

    Zero rows are set apart: they have no direction, and say enough by themselves.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    norms
        ``[V]``, NaN for rows with an infinity or a NaN.
    candidates
        Masks ``[V]`` by source; any may be empty.
    row_labels
        ``[V]``, the row class of each token.
    duplicated
        ``[V]``, the tokens in row classes that are larger than chance makes them; each class is one
        candidate where no others have a core.
    clusters
        The tokens of each cluster that was found, most prominent first.

    Returns
    -------
    Reference
        The same for any number of threads.
    """
    scan = scan_rows(matrix)
    usable = scan.finite & ~scan.zero
    named = {name: np.asarray(mask) & scan.finite for name, mask in candidates.items()}
    sources = [np.flatnonzero(mask & usable) for mask in named.values()]
    sources = [ids for ids in sources if len(ids)]
    anybody = np.zeros(matrix.n_tokens, dtype=np.bool_)
    for mask in named.values():
        anybody |= mask
    # Sources of a few tokens each may make a core together.
    if len(sources) > 1 and min(len(ids) for ids in sources) < FEWEST:
        sources.append(np.flatnonzero(anybody & usable))
    others = usable & ~anybody
    found = CoreSearch(matrix, norms, np.flatnonzero(others), clusters).core(sources)
    by: By = "names"
    if found is None:
        by = "row classes"
        firsts = np.unique(np.where(duplicated & usable, row_labels, -1), return_index=True)
        classes = firsts[1][firsts[0] >= 0]
        apart = others & ~duplicated
        search = CoreSearch(matrix, norms, np.flatnonzero(apart), clusters)
        found = search.core([classes])
        if found is not None:
            others = apart
        elif clusters:
            by = "cluster"
            found = search.cluster(clusters[0].astype(np.int64))
            others[clusters[0]] = False
    tokens = {name: int(mask.sum()) for name, mask in named.items()}
    if found is None:
        distances = np.full(matrix.n_tokens, np.nan)
        return Reference(tokens, _why_none(tokens, sources), distances=distances)
    return _described(matrix, norms, found, by, named, others)


def _described(
    matrix: Matrix,
    norms: Float64s,
    core: Core,
    by: By,
    named: Mapping[str, Mask],
    others: Mask,
) -> Reference:
    """Return the record of a core."""
    centre = np.zeros(matrix.width) if core.centre is None else core.centre
    members = core.members
    if by == "names":
        # What another source names and lies there too belongs to it.
        anybody = np.logical_or.reduce(list(named.values()))
        members = np.flatnonzero(anybody & core.band.holds(core.distances))
    scan = scan_rows(matrix)
    distances = np.where(scan.finite, core.distances, np.nan)
    elsewhere = distances[others]
    outside = elsewhere[elsewhere > core.band.high]
    is_core = np.zeros(matrix.n_tokens, dtype=np.bool_)
    is_core[members] = True
    counts = {name: int((mask & is_core).sum()) for name, mask in named.items()}
    mean, moved = mean_of(matrix, core.members), drift(matrix, norms, core.members)
    radii = distances[core.members]
    if core.kind == "shell" and moved is not None:
        radii = np.sqrt(square_distances(matrix, core.members, moved))
        radii = from_the_others(radii, fitted=True)
    away = 0.0 if moved is None else float(np.linalg.norm(mean))
    shell = Shell.of(radii, matrix.width, away)
    return Reference(
        tokens={name: int(mask.sum()) for name, mask in named.items()},
        why=_why(core, by, len(members), shell, len(elsewhere)),
        core=counts,
        kind=core.kind,
        by=by,
        token_ids=members.astype(np.int32),
        mean=mean,
        has_direction=moved is not None,
        centre=centre,
        distances=distances,
        band=core.band,
        shell=shell,
        strangers=core.band.expected_strangers(elsewhere),
        n_others=len(elsewhere),
        inside=int(core.band.holds(elsewhere).sum()),
        left_out={name: int((mask & ~is_core & ~scan.zero).sum()) for name, mask in named.items()},
        typical=float(np.median(outside)) if len(outside) else float("nan"),
    )


def _why(core: Core, by: By, size: int, shell: Shell, n_others: int) -> str:
    """Say what agrees and why it stands apart."""
    what = {"names": "candidates", "row classes": "row classes", "cluster": "tokens of a cluster"}
    where = "the origin" if core.centre is None else "their centre"
    if core.kind == "packed":
        how = f"lie within {core.band.high:.3g} of {where}"
    else:
        how = (
            f"have norms of {core.band.low:.3g} to {core.band.high:.3g}, with a relative spread of "
            f"{shell.relative_spread:.3g} about their mean, where iid Gaussian rows have "
            f"{shell.gaussian:.3g}"
        )
    test = f"{core.evidence:,.0f} nats, where {core.threshold:.0f} are enough"
    if by == "cluster":
        test = "no candidates agree, but a cluster was found"
    elif core.in_cluster:
        test = "at least half of them are in one cluster"
    return f"{size:,} {what[by]} {how}; {test}, beside {n_others:,} other tokens"


def _why_none(tokens: Mapping[str, int], sources: Sequence[Ids]) -> str:
    """Say why there is no core."""
    if not sum(tokens.values()):
        return "no source names a token, no row classes agree, and no cluster was found"
    if max((len(ids) for ids in sources), default=0) < FEWEST:
        return f"fewer than {FEWEST} candidates have a finite row that is not zero"
    return (
        "the candidates look like everybody else: no group of them is packed at a third of the "
        f"others' distance (a factor {LEAST_RATIO:g}) or in a shell that the others do not fill"
    )
