"""isologit finds the tokens that a language model cannot tell apart.

The public names, few; each is imported when it is first used, so that ``import isologit`` costs
nothing. `AuditResult` is what most need: an audit, its figures and its files; `Settings`, `Pole`
and `Members` say what is to be audited. The rest are the pieces for work of one's own: a
checkpoint, its head's `Matrix`, a `Vector` as hidden state, the `Partition` of the vocabulary.

The jobs are functions of the modules that bear their names: `isologit.audit.audit`,
`isologit.classes.classes`, `isologit.inspection.inspect`, `isologit.listing.listing`,
`isologit.near_twins.near_twins`, `isologit.never_top.never_top`, `isologit.casting.casts`,
`isologit.comparing.diff`, `isologit.checking.check`, `isologit.reproduce.reproduce`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isologit.checkpoint.head import find_head
    from isologit.checkpoint.open import open_checkpoint
    from isologit.equivalence.cluster import find_clusters
    from isologit.equivalence.partition import Partition
    from isologit.errors import IsologitError
    from isologit.numerics.stored import Matrix, Vector
    from isologit.output.audit_result import AuditResult
    from isologit.request import Members, Pole
    from isologit.subject import Settings

__version__ = "0.1.0"

__all__ = [
    "AuditResult",
    "IsologitError",
    "Matrix",
    "Members",
    "Partition",
    "Pole",
    "Settings",
    "Vector",
    "__version__",
    "find_clusters",
    "find_head",
    "open_checkpoint",
]

_HOMES = {
    "AuditResult": "output.audit_result",
    "IsologitError": "errors",
    "Matrix": "numerics.stored",
    "Members": "request",
    "Partition": "equivalence.partition",
    "Pole": "request",
    "Settings": "subject",
    "Vector": "numerics.stored",
    "find_clusters": "equivalence.cluster",
    "find_head": "checkpoint.head",
    "open_checkpoint": "checkpoint.open",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isologit' has no attribute {name!r}")
    return getattr(import_module(f"isologit.{_HOMES[name]}"), name)
