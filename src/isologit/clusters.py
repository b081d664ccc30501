"""The cluster that a job is about: given, of a pole, or found; as a record and as token ids."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import msgspec
import numpy as np

from isologit.equivalence.cluster import Cluster
from isologit.equivalence.cosines import pairwise_cosines
from isologit.equivalence.partition import Overlap, TokenIds
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.states import token_id_list
from isologit.equivalence.values import TokenValues
from isologit.errors import ClusterVocabularyError
from isologit.findings import ClusterFacts, Comparison, PairwiseFacts
from isologit.request import Members, Pole
from isologit.subject import Subject

# Distinct rows of a cluster beyond which the cosines of its pairs are left out of an audit: their
# number grows with the square.
_MOST_PAIRED_ROWS = 1000


@dataclass(frozen=True, eq=False)
class ClusterChoice:
    """A cluster as its record, and its tokens ``[n]`` int32, ascending."""

    facts: ClusterFacts
    token_ids: TokenIds


def checked_members(members: Members, n_tokens: int) -> TokenIds:
    """Return a given cluster's ids, checked and sorted.

    Raises
    ------
    EmptyClusterError, TokenIdError, DuplicateTokenError
        See `token_id_list`.
    ClusterVocabularyError
        The list was made for another vocabulary size.
    """
    if members.vocabulary is not None and members.vocabulary != n_tokens:
        raise ClusterVocabularyError(
            f"{members.where} was made for {members.vocabulary} tokens and this model has "
            f"{n_tokens} rows; use the model that it was made from"
        )
    return token_id_list(members.token_ids, n_tokens, members.where)


def given_cluster(token_ids: TokenIds, members: Members) -> ClusterChoice:
    """Return the user's cluster, its ids checked already."""
    facts = ClusterFacts(
        method="members",
        size=len(token_ids),
        excess=None,
        cosine=members.cosine,
        cosine_tokens=None,
        token_ids=token_ids.tolist(),
        others=[],
        why=f"given by {members.where}",
    )
    return ClusterChoice(facts, token_ids)


def pole_cluster(cosines: TokenValues, pole: Pole) -> ClusterChoice:
    """Return the tokens of the most common cosine to a pole (the seed line's 1.4a)."""
    mode = cosines.mode
    token_ids = cosines.tokens_with(mode.value)
    facts = ClusterFacts(
        method="pole",
        size=len(token_ids),
        excess=None,
        cosine=mode.value,
        cosine_tokens=len(token_ids),
        token_ids=token_ids.tolist(),
        others=[],
        why=f"the tokens of the most common cosine to {pole.lat_deg:g}°, {pole.lon_deg:g}°",
    )
    return ClusterChoice(facts, token_ids)


def standing_out(found: Sequence[Cluster]) -> ClusterChoice | None:
    """Return the cluster that stands out most, or None; `others` are the sizes of the rest."""
    if not found:
        return None
    best = found[0]
    facts = ClusterFacts(
        method="found",
        size=len(best.token_ids),
        excess=best.excess,
        cosine=None,
        cosine_tokens=None,
        token_ids=best.token_ids.tolist(),
        others=[len(cluster.token_ids) for cluster in found[1:]],
        why=best.why,
    )
    return ClusterChoice(facts, best.token_ids)


def with_cosine(cluster: ClusterChoice, cosines: TokenValues) -> ClusterChoice:
    """Add the cosine that most members have with the reference, of equal counts the smaller."""
    own = cosines.values[cluster.token_ids]
    distinct, counts = np.unique(own[~np.isnan(own)], return_counts=True)
    if not len(distinct):
        facts = msgspec.structs.replace(cluster.facts, cosine=float("nan"), cosine_tokens=0)
        return ClusterChoice(facts, cluster.token_ids)
    most = int(np.argmax(counts))
    facts = msgspec.structs.replace(
        cluster.facts, cosine=float(distinct[most]), cosine_tokens=int(counts[most])
    )
    return ClusterChoice(facts, cluster.token_ids)


def pairwise_facts(
    subject: Subject, rows: RowClasses, cluster: ClusterChoice | None
) -> PairwiseFacts | None:
    """Return the cosines of all pairs of a cluster, if its distinct rows are few enough."""
    if cluster is None or len(set(rows.rows.labels[cluster.token_ids])) > _MOST_PAIRED_ROWS:
        return None
    arithmetic, format_ = subject.settings.arithmetic, subject.logit_format
    found = pairwise_cosines(subject.head.matrix, rows.rows, cluster.token_ids, arithmetic, format_)
    return PairwiseFacts(**asdict(found))


def other_matrix(members: Members, digest: str) -> list[str]:
    """Say so where a cluster file was made from another matrix than this one."""
    if members.matrix_sha256 in (None, "", digest):
        return []
    return [f"{members.where} was made from another matrix: its sha256 differs from this one's"]


def comparison(cluster: ClusterChoice | None, class_ids: TokenIds) -> Comparison | None:
    """Return how the cluster and a logit class overlap, or None without a cluster."""
    return None if cluster is None else Comparison.of(Overlap.of(cluster.token_ids, class_ids))
