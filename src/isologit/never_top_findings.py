"""The records of ``never-top``: what its document holds."""

from typing import Literal

from isologit.equivalence.domain import DomainName
from isologit.equivalence.hull_certificate import BoundCertificate, HullCertificate, Level
from isologit.findings import HeadFacts, MatrixFacts
from isologit.record import Model, Record

NEVER_TOP_SCHEMA = "isologit.never-top/1"


class DomainFacts(Record, frozen=True, kw_only=True):
    """Which states are meant: ``shape`` says whether length matters (ball) or not."""

    name: DomainName
    shape: Literal["space", "plane", "ball"]
    why: str


class Shadowed(Record, frozen=True, kw_only=True):
    """A token, and the one that is at least as high at every state."""

    token: int
    by: int


class LevelFacts(Record, frozen=True, kw_only=True):
    """Tokens and their weights in a mean."""

    token_ids: list[int]
    weights: list[float]


class CertificateFacts(Record, frozen=True, kw_only=True):
    """The evidence: see `isologit.equivalence.hull_certificate`."""

    kind: Literal["hull", "bound"]
    levels: list[LevelFacts]
    excess: float | None
    slack: float | None

    @classmethod
    def of(cls, certificate: HullCertificate | BoundCertificate) -> "CertificateFacts":
        """Write a certificate down."""
        if isinstance(certificate, BoundCertificate):
            only = LevelFacts(
                token_ids=list(certificate.token_ids), weights=list(certificate.weights)
            )
            return cls(kind="bound", levels=[only], excess=None, slack=certificate.slack)
        levels = [
            LevelFacts(token_ids=list(level.token_ids), weights=list(level.weights))
            for level in certificate.levels
        ]
        return cls(kind="hull", levels=levels, excess=certificate.excess, slack=None)

    def certificate(self) -> HullCertificate | BoundCertificate:
        """Return the certificate that is written down here."""
        levels = tuple(Level(tuple(level.token_ids), tuple(level.weights)) for level in self.levels)
        if self.kind == "hull":
            return HullCertificate(levels, self.excess)
        # A document may be altered: no slack, or more levels than the one, prove nothing.
        only = levels[0] if len(levels) == 1 else Level((), ())
        slack = float("nan") if self.slack is None else self.slack
        return BoundCertificate(only.token_ids, only.weights, slack)


class NeverTop(Record, frozen=True, kw_only=True):
    """A token that is nowhere the one argmax, and the evidence."""

    token: int
    text: str | None
    certificate: CertificateFacts


class SearchFacts(Record, frozen=True, kw_only=True):
    """How the search went: ``ended`` is false where its time was over before it was through."""

    seconds: float
    time_limit_s: float
    ended: bool
    n_decided_before: int
    estimates: dict[str, list[float | None]]


class NeverTopFindings(Record, frozen=True, kw_only=True):
    """What ``never-top`` finds; counts are of the tokens asked about."""

    schema: str = NEVER_TOP_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    domain: DomainFacts
    n_asked: int
    n_won: int
    n_shadowed: int
    n_interior: int
    n_boundary: int
    n_undecided: int
    n_left_out: int
    witnesses: dict[str, int]
    shadowed: list[Shadowed]
    interior: list[NeverTop]
    boundary: list[NeverTop]
    undecided: str
    search: SearchFacts
    claims: dict[str, str]
    notes: list[str]
