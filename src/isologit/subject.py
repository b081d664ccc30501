"""What a job is about: an opened checkpoint, its head, and the records that name them."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from isologit import __version__
from isologit.checkpoint.head import Head, LocatedHead, Role, load_head, locate_head
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.opened import Checkpoint
from isologit.findings import HeadFacts, MatrixFacts, NormFacts
from isologit.numerics.arithmetic import Arithmetic, Exact
from isologit.numerics.formats import Format
from isologit.record import Model

Progress = Callable[[str], None]


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
    tokenizer
        Another tokenizer than the model's own: a file, a directory, ``bytes``, a model of the hub.
    """

    tensor: str | None = None
    role: Role = "output"
    logit_format: Format | None = None
    arithmetic: Arithmetic = field(default_factory=Exact)
    tokenizer: str | None = None


@dataclass(frozen=True, eq=False)
class LocatedSubject:
    """An opened checkpoint, and what its headers say of its head; none of W has been read."""

    checkpoint: Checkpoint
    head: LocatedHead
    settings: Settings


@dataclass(frozen=True, eq=False)
class Subject:
    """An opened checkpoint and its head; `digest` is under way, `version` is isologit's own."""

    checkpoint: Checkpoint
    head: Head
    settings: Settings
    digest: Future[str]
    version: str = __version__

    @property
    def logit_format(self) -> Format:
        """The format of a logit."""
        return self.settings.logit_format or self.head.logit_format

    @property
    def model(self) -> Model:
        """Which checkpoint this is."""
        return model_facts(self.checkpoint)

    @property
    def sha256(self) -> str:
        """The sha256 of W's bytes as stored; waits for it."""
        return self.digest.result()

    def matrix_facts(self) -> MatrixFacts:
        """Return which tensor W is, and why, and the digest of its bytes, once they are known.

        Raises
        ------
        ChangedFileError
            The file has been written to since it was opened.
        """
        head, digest = self.head, self.sha256
        self.checkpoint.require_unchanged()
        return MatrixFacts(
            tensor=head.tensor,
            role=head.role,
            tied=head.tied,
            shape=[head.matrix.n_tokens, head.matrix.width],
            dtype=head.matrix.stored_as,
            values_dtype=head.matrix.format.name,
            sha256=digest,
            why=head.why,
        )


def open_subject(spec: str, settings: Settings, arrived: Arrived = nothing) -> Subject:
    """Open a checkpoint, find its head, and begin to digest W. Reads headers alone else.

    So a command opens its subject before it imports the job that it runs: the digest takes as long
    as the imports.
    """
    return load_subject(locate_subject(spec, settings, arrived))


def locate_subject(spec: str, settings: Settings, arrived: Arrived = nothing) -> LocatedSubject:
    """Open a checkpoint and find its head, by headers alone.

    Parameters
    ----------
    spec, arrived
        As of `open_checkpoint`.
    settings
        Which matrix is meant, and how figures are computed.
    """
    return locate_in(open_checkpoint(spec, arrived), settings)


def locate_in(checkpoint: Checkpoint, settings: Settings) -> LocatedSubject:
    """Find the head of an opened checkpoint, by headers alone."""
    head = locate_head(checkpoint, tensor=settings.tensor, role=settings.role)
    return LocatedSubject(checkpoint, head, settings)


def load_subject(located: LocatedSubject) -> Subject:
    """Read the head, fetching it where it is not here yet, and begin to digest W."""
    checkpoint = located.checkpoint
    head = load_head(checkpoint, located.head)
    return Subject(checkpoint, head, located.settings, checkpoint.digest(head.tensor))


def model_facts(checkpoint: Checkpoint) -> Model:
    """Return which checkpoint this is."""
    return Model(
        spec=checkpoint.spec,
        source=checkpoint.source,
        revision=checkpoint.revision,
        name=checkpoint.name,
    )


def head_facts(head: Head | LocatedHead) -> HeadFacts:
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
            gamma=norm.has_gamma,
            beta=norm.has_beta,
        ),
    )
