"""What a job is about: an opened checkpoint, its head, and the records that name them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from isologit import __version__
from isologit.checkpoint.head import Head, Role, find_head
from isologit.checkpoint.open import Checkpoint, open_checkpoint
from isologit.findings import HeadFacts, MatrixFacts, Model, NormFacts
from isologit.numerics.formats import Format

if TYPE_CHECKING:
    from isologit.numerics.arithmetic import Arithmetic

Progress = Callable[[str], None]


def _exact() -> "Arithmetic":
    # Imported when it is needed: it brings the compiler of the kernels with it.
    from isologit.numerics.arithmetic import Exact

    return Exact()


def silent(_step: str) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Settings:
    """How figures are computed; the same options for every job.

    Parameters
    ----------
    tensor
        The tensor to take as W, or None to find it.
    role
        ``output`` for the unembedding matrix, ``input`` for the input embedding.
    logit_format
        The format of a logit; None stands for W's own.
    arithmetic
        Exact, or observed on a device.
    """

    tensor: str | None = None
    role: Role = "output"
    logit_format: Format | None = None
    arithmetic: "Arithmetic" = field(default_factory=_exact)


@dataclass(frozen=True, eq=False)
class Subject:
    """An opened checkpoint and its head. `version` is isologit's own."""

    checkpoint: Checkpoint
    head: Head
    settings: Settings
    version: str = __version__

    @property
    def logit_format(self) -> Format:
        """The format of a logit."""
        return self.settings.logit_format or self.head.matrix.format

    @property
    def model(self) -> Model:
        """Which checkpoint this is."""
        return model_facts(self.checkpoint)

    def matrix_facts(self, digest: str) -> MatrixFacts:
        """Return which tensor W is, and why, given the digest of its bytes."""
        head = self.head
        return MatrixFacts(
            tensor=head.tensor,
            role=head.role,
            tied=head.tied,
            shape=[head.matrix.n_tokens, head.matrix.width],
            dtype=head.matrix.format.name,
            sha256=digest,
            why=head.why,
        )


def open_subject(spec: str, settings: Settings) -> Subject:
    """Open a checkpoint and find its head. Reads headers alone."""
    checkpoint = open_checkpoint(spec)
    head = find_head(checkpoint, tensor=settings.tensor, role=settings.role)
    return Subject(checkpoint, head, settings)


def model_facts(checkpoint: Checkpoint) -> Model:
    """Return which checkpoint this is."""
    return Model(
        spec=checkpoint.spec,
        source=checkpoint.source,
        revision=checkpoint.revision,
        name=checkpoint.name,
    )


def head_facts(head: Head) -> HeadFacts:
    """Return what the head does to a logit, and what the final norm is."""
    norm = head.norm
    return HeadFacts(
        family=head.family,
        bias=head.bias_tensor,
        logit_scale=None if head.scale is None else head.scale.multiply,
        logit_scale_source=None if head.scale is None else head.scale.source,
        softcap=head.softcap,
        norm=NormFacts(
            kind=norm.kind,
            source=norm.source,
            convention=norm.convention,
            eps=norm.eps,
            gamma=norm.gamma is not None,
            beta=norm.beta is not None,
        ),
    )


def digest_beside(subject: Subject) -> Future[str]:
    """Return the sha256 of W's bytes as stored, computed on a thread of its own meanwhile.

    hashlib releases the interpreter lock, so this runs beside the passes over W.
    """
    words = subject.head.matrix.words
    pool = ThreadPoolExecutor(1)
    digest = pool.submit(lambda: sha256(words.view(np.uint8).data).hexdigest())
    pool.shutdown(wait=False)
    return digest
