"""The head: which tensor is W and why, and all that stands between the norm and the logits."""

from dataclasses import dataclass, replace

from isologit.checkpoint.choice import (
    Choice,
    Role,
    choose_input,
    choose_output,
    tie_of,
    vocabulary_size,
)
from isologit.checkpoint.config import Settings
from isologit.checkpoint.families import KnownFamily, family_of
from isologit.checkpoint.locate import named
from isologit.checkpoint.norm import FinalNorm, read_norm, unknown_norm
from isologit.checkpoint.open import Checkpoint
from isologit.checkpoint.scale import LogitScale, read_scale, read_softcap, unused_logit_keys
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorShapeError, UnclearHeadError
from isologit.numerics.stored import Matrix, Vector

__all__ = ["FinalNorm", "Head", "LogitScale", "Role", "find_head"]

_WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "n_embed", "dim", "model_dim")


@dataclass(frozen=True, eq=False)
class Head:
    """The unembedding and what belongs to it.

    Logits are ``cap(s · (W h + b))``, or ``cap(W (s h) + b)``: `LogitScale` says which.

    Parameters
    ----------
    matrix
        W ``[V, d]``, a view of the file.
    tensor
        Its name.
    role
        "output": the unembedding. "input": the embedding that was asked for instead.
    tied
        Whether the head is the input embedding; None where nothing says.
    why
        Why this tensor, in one sentence.
    bias
        b ``[V]``, or None.
    bias_tensor
        Its name, or None.
    scale
        s, or None where the head has none.
    softcap
        c of ``c · tanh(ℓ / c)``, or None.
    norm
        The norm whose output h is.
    warnings
        What a reader should know before relying on this, a sentence each.
    family
        The config's ``model_type`` of the language model; None where it has none.
    """

    matrix: Matrix
    tensor: str
    role: Role
    tied: bool | None
    why: str
    bias: Vector | None
    bias_tensor: str | None
    scale: LogitScale | None
    softcap: float | None
    norm: FinalNorm
    warnings: tuple[str, ...]
    family: str | None


def find_head(checkpoint: Checkpoint, *, tensor: str | None = None, role: Role = "output") -> Head:
    """Find the unembedding matrix of a checkpoint, or its input embedding.

    Parameters
    ----------
    checkpoint
        An open one.
    tensor
        The name of W, where the user chose it: then no shape but that of a matrix is asked for,
        and what the config has against it becomes a warning.
    role
        Which of the two is meant.

    Raises
    ------
    UnclearHeadError
        Several tensors could be it, or none; the message lists them.
    TensorNotFoundError
        `tensor` names nothing.
    TensorShapeError
        The tensor is no matrix, or not of the shape that the config gives.
    UnsupportedFormatError
        Its number format is not read.
    ConfigError
        A value of the config that is needed has the wrong type.
    """
    settings = _settings(checkpoint)
    known = family_of(settings.model_types)
    if tensor is not None:
        choice = _named_by_user(checkpoint, settings, known, tensor, role)
    elif role == "output":
        choice = choose_output(checkpoint, settings, known)
    else:
        choice = choose_input(checkpoint, known, _output_if_clear(checkpoint, settings, known))
    matrix = checkpoint.matrix(choice.tensor)
    fault, padding = _against_config(matrix, choice.tensor, settings, known)
    if fault and tensor is None:
        raise TensorShapeError(f"{shown(checkpoint.spec)}: {fault}")
    warnings = [*choice.warnings, *([fault] if fault else []), *([padding] if padding else [])]
    head = Head(
        matrix=matrix,
        tensor=choice.tensor,
        role=role,
        tied=choice.tied,
        why=choice.why,
        bias=None,
        bias_tensor=None,
        scale=None,
        softcap=None,
        norm=unknown_norm("an input embedding that is not tied to the head has no final norm"),
        warnings=tuple(warnings),
        family=known.model_type if known else next(iter(settings.model_types), None),
    )
    if role == "input" and not choice.tied:
        return head
    return _with_pipeline(head, checkpoint, settings, known, by_user=choice.by_user)


def _settings(checkpoint: Checkpoint) -> Settings:
    label = "config.json beside the file" if checkpoint.source == "file" else "config.json"
    return Settings.of(checkpoint.config, shown(str(checkpoint.config_path)), label)


def _output_if_clear(
    checkpoint: Checkpoint, settings: Settings, known: KnownFamily | None
) -> Choice | None:
    try:
        return choose_output(checkpoint, settings, known)
    except UnclearHeadError:
        return None


def _named_by_user(
    checkpoint: Checkpoint,
    settings: Settings,
    known: KnownFamily | None,
    tensor: str,
    role: Role,
) -> Choice:
    checkpoint.info(tensor)  # not found comes before any doubt about the rest
    output = _output_if_clear(checkpoint, settings, known)
    if output is not None and output.tensor == tensor:
        return replace(output, why=f"named by --tensor; {output.why}")
    doubts: tuple[str, ...] = ()
    if role == "output" and output is not None:
        doubts = (f"without --tensor it would be {shown(output.tensor)}: {output.why}",)
    return Choice(tensor, None, "named by --tensor", doubts, by_user=True)


def _against_config(
    matrix: Matrix, tensor: str, settings: Settings, known: KnownFamily | None
) -> tuple[str | None, str | None]:
    """Return what the config has against a shape, and a note on rows beyond its vocabulary."""
    rows, columns = matrix.words.shape
    tokens = vocabulary_size(settings)
    width = settings.integer(*(known.family.width if known else ()), *_WIDTH_KEYS)
    got = f"{shown(tensor)} is {shown_shape(matrix.words.shape)}"
    if tokens and width and (rows, columns) == (width[1], tokens) and rows != tokens:
        return (
            f"{got}, which is [d, V] by {settings.label} (vocab_size {tokens}, {width[0]} "
            f"{width[1]}); expected [V, d]. Store it transposed, or name another with --tensor.",
            None,
        )
    if tokens and rows < tokens:
        return (
            f"{got}; expected at least {tokens} rows, the vocab_size in {settings.label}",
            None,
        )
    if width and columns != width[1]:
        return (
            f"{got}; expected {width[1]} columns, the {width[0]} in {settings.label}",
            None,
        )
    if tokens and rows > tokens:
        return None, (
            f"{shown(tensor)} has {rows:,} rows and {settings.label} a vocab_size of {tokens:,}: "
            f"the last {rows - tokens:,} have no token by it"
        )
    return None, None


def _with_pipeline(
    head: Head,
    checkpoint: Checkpoint,
    settings: Settings,
    known: KnownFamily | None,
    *,
    by_user: bool,
) -> Head:
    """Add bias, scale, softcap and norm.

    To a matrix that only the user calls the head the family's bias does not belong, and a norm of
    another size is unknown.
    """
    bias_tensor = _bias_tensor(head, checkpoint, None if by_user else known)
    bias = checkpoint.vector(bias_tensor) if bias_tensor else None
    if bias is not None and bias.words.size != head.matrix.n_tokens:
        raise TensorShapeError(
            f"{shown(checkpoint.spec)}: {shown(bias_tensor or '')} has {bias.words.size} entries; "
            f"expected {head.matrix.n_tokens}, a row of {shown(head.tensor)} each"
        )
    head = replace(
        head,
        bias=bias,
        bias_tensor=bias_tensor,
        warnings=head.warnings + _unused(head, settings, known),
    )
    if known is None:
        why = f"what norm model_type {shown(head.family or '')} has is not known here"
        if head.family is None:
            why = "no config.json names the model's family"
        return replace(head, norm=unknown_norm(why))
    try:
        norm = read_norm(checkpoint, known.family, settings, width=head.matrix.width)
    except TensorShapeError as error:
        if not by_user:
            raise
        norm = unknown_norm(str(error))
    caveat = (known.family.caveat,) if known.family.caveat else ()
    tied_by_config = tie_of(settings, known).expected is True
    return replace(
        head,
        scale=read_scale(known.model_type, settings, tied_by_config=tied_by_config),
        softcap=read_softcap(known.model_type, settings),
        norm=norm,
        warnings=head.warnings + caveat,
    )


def _unused(head: Head, settings: Settings, known: KnownFamily | None) -> tuple[str, ...]:
    return tuple(
        f"{settings.label} has {key}, and what model_type {shown(head.family or '(none)')} does "
        "with it is not known here: logits are taken without it"
        for key in unused_logit_keys(known.model_type if known else None, settings)
    )


def _bias_tensor(head: Head, checkpoint: Checkpoint, known: KnownFamily | None) -> str | None:
    beside = f"{head.tensor.removesuffix('.weight')}.bias"
    if beside in checkpoint.tensors:
        return beside
    # A tied head has its weight under another name than its bias.
    return named(checkpoint.tensors, known.family.bias if known else (), shown(checkpoint.spec))
