"""What kind of claim each figure of an audit, or of classes, is."""

from typing import TypeVar

from msgspec.structs import replace

from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED
from isologit.findings import Audit, Classes

_F = TypeVar("_F", Audit, Classes)


def with_claims(findings: _F) -> _F:
    """Return findings that say of each figure what kind of claim it is; what they say is kept."""
    computed = EXACT if findings.arithmetic.name == "exact" else OBSERVED
    kinds = {
        "rows": EXACT,
        "axes": ESTIMATED,
        **dict.fromkeys(("state", "cosines", "centroid", "logits", "own_class"), computed),
        **dict.fromkeys(("comparison", "pairwise", "refinement", "ties"), computed),
        "class_rows": EXACT,
        "greedy": BOUND,
        # What a tokenizer's library does.
        "tokens": OBSERVED,
    }
    if findings.cluster is not None:
        # One that was found stands out by a bound on what chance would do.
        of_method = {"found": BOUND, "pole": computed, "members": EXACT}
        kinds["cluster"] = of_method[findings.cluster.method]
    known = {name: kind for name, kind in kinds.items() if _is_there(findings, name)}
    return replace(findings, claims={**known, **findings.claims})


def _is_there(findings: Audit | Classes, figure: str) -> bool:
    return getattr(findings, figure, None) is not None
