"""The head: which tensor is W and why, and all that stands between the norm and the logits."""

from dataclasses import dataclass, fields, replace

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
from isologit.checkpoint.gguf_family import gguf_config, gguf_family, gguf_scale, gguf_softcap
from isologit.checkpoint.locate import named
from isologit.checkpoint.norm import (
    FinalNorm,
    LocatedNorm,
    load_norm,
    locate_norm,
    unknown_norm,
)
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.scale import LogitScale, read_scale, read_softcap, unused_logit_keys
from isologit.checkpoint.stored_form import StoredForm
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorShapeError, UnclearHeadError
from isologit.numerics.formats import FORMATS, Format
from isologit.numerics.stored import Matrix, Vector

__all__ = [
    "FinalNorm",
    "Head",
    "LocatedHead",
    "LogitScale",
    "Role",
    "find_head",
    "load_head",
    "locate_head",
]

_WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "n_embed", "dim", "model_dim")


@dataclass(frozen=True, eq=False)
class _Pipeline:
    """What the head is, besides its numbers; see `Head`."""

    tensor: str
    role: Role
    tied: bool | None
    why: str
    logit_format: Format
    bias_tensor: str | None
    scale: LogitScale | None
    softcap: float | None
    warnings: tuple[str, ...]
    family: str | None


@dataclass(frozen=True, eq=False)
class LocatedHead(_Pipeline):
    """The head as headers and config tell of it, before any of its numbers is read.

    Parameters
    ----------
    form
        How W is stored.
    norm
        Where the final norm is stored.

    The others are those of `Head`.
    """

    form: StoredForm
    norm: LocatedNorm

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of what has to be read: W and its scales, the bias, the final norm."""
        scale = () if self.form.scale is None else (self.form.scale.name,)
        bias = () if self.bias_tensor is None else (self.bias_tensor,)
        return (self.tensor, *scale, *bias, *self.norm.tensors)


@dataclass(frozen=True, eq=False)
class Head(_Pipeline):
    """The unembedding and what belongs to it.

    Logits are ``cap(s · (W h + b))``, or ``cap(W (s h) + b)``: `LogitScale` says which.

    Parameters
    ----------
    tensor
        The name of W.
    role
        "output": the unembedding. "input": the embedding that was asked for instead.
    tied
        Whether the head is the input embedding; None where nothing says.
    why
        Why this tensor, in one sentence.
    logit_format
        The format of a logit where the user names none: that of W's values; for 8-bit floats with
        scales, which no logit is computed in, the one that the config names.
    bias_tensor
        The name of b, or None.
    scale
        s, or None where the head has none.
    softcap
        c of ``c · tanh(ℓ / c)``, or None.
    warnings
        What a reader should know before relying on this, a sentence each.
    family
        The config's ``model_type`` of the language model, or a GGUF file's architecture; None
        where nothing names it.
    matrix
        W ``[V, d]``, a view of the file.
    bias
        b ``[V]``, or None.
    norm
        The norm whose output h is.
    """

    matrix: Matrix
    bias: Vector | None
    norm: FinalNorm


def find_head(checkpoint: Checkpoint, *, tensor: str | None = None, role: Role = "output") -> Head:
    """Find the unembedding matrix of a checkpoint, or its input embedding, and read it.

    Parameters
    ----------
    checkpoint
        An open one.
    tensor
        The name of W, where the user chose it.
    role
        Which of the two is meant.

    Raises
    ------
    CheckpointError
        It is not clear which tensor it is, or it cannot be read: see `locate_head`.
    HubError
        It could not be fetched.
    """
    return load_head(checkpoint, locate_head(checkpoint, tensor=tensor, role=role))


def load_head(checkpoint: Checkpoint, located: LocatedHead) -> Head:
    """Read what `locate_head` found: views of local files; of a hub model what is not here yet.

    Raises
    ------
    HubError
        It could not be fetched.
    """
    matrix = checkpoint.matrix(located.tensor)
    bias = None if located.bias_tensor is None else checkpoint.vector(located.bias_tensor)
    return Head(
        **{each.name: getattr(located, each.name) for each in fields(_Pipeline)},
        matrix=matrix,
        bias=bias,
        norm=load_norm(checkpoint, located.norm, matrix.width),
    )


def locate_head(
    checkpoint: Checkpoint, *, tensor: str | None = None, role: Role = "output"
) -> LocatedHead:
    """Find the unembedding matrix of a checkpoint, or its input embedding, by headers and config.

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
    settings, known = _settings(checkpoint)
    if tensor is not None:
        choice = _named_by_user(checkpoint, settings, known, tensor, role)
    elif role == "output":
        choice = choose_output(checkpoint, settings, known)
    else:
        choice = choose_input(checkpoint, known, _output_if_clear(checkpoint, settings, known))
    form = checkpoint.form(choice.tensor)
    fault, padding = _against_config(form.info, settings, known)
    if fault and tensor is None:
        raise TensorShapeError(f"{shown(checkpoint.spec)}: {fault}")
    warnings = [*choice.warnings, *(text for text in (fault, padding, form.note) if text)]
    head = LocatedHead(
        form=form,
        tensor=choice.tensor,
        role=role,
        tied=choice.tied,
        why=choice.why,
        logit_format=_logit_format(form, settings),
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


def _logit_format(form: StoredForm, settings: Settings) -> Format:
    if form.scale is None:
        return form.format
    # transformers 5 writes dtype, 4 torch_dtype.
    named = [*settings.given("dtype"), *settings.given("torch_dtype")]
    return next((each for each in FORMATS if each.torch in named), form.format)


def _settings(checkpoint: Checkpoint) -> tuple[Settings, KnownFamily | None]:
    """Return what a model says of itself, and its family where that is known."""
    if checkpoint.gguf is not None:
        settings = Settings.of(
            gguf_config(checkpoint.gguf), shown(checkpoint.spec), "the GGUF header"
        )
        stores_output = "output.weight" in checkpoint.tensors
        return settings, gguf_family(checkpoint.gguf, stores_output=stores_output)
    label = "config.json beside the file" if checkpoint.source == "file" else "config.json"
    settings = Settings.of(checkpoint.config, shown(checkpoint.config_name), label)
    return settings, family_of(settings.model_types)


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
    info: TensorInfo, settings: Settings, known: KnownFamily | None
) -> tuple[str | None, str | None]:
    """Return what the config has against a shape, and a note on rows beyond its vocabulary."""
    tensor, (rows, columns) = info.name, info.shape
    tokens = vocabulary_size(settings)
    width = settings.integer(*(known.family.width if known else ()), *_WIDTH_KEYS)
    got = f"{shown(tensor)} is {shown_shape(info.shape)}"
    as_it_is = f" (--tensor {shown(tensor)} takes it as it is)"
    if tokens and width and (rows, columns) == (width[1], tokens) and rows != tokens:
        return (
            f"{got}, which is [d, V] by {settings.label} (vocab_size {tokens}, {width[0]} "
            f"{width[1]}); expected [V, d]. Store it transposed, or name another with --tensor.",
            None,
        )
    if tokens and rows < tokens:
        return (
            f"{got}; expected at least {tokens} rows, the vocab_size in {settings.label}{as_it_is}",
            None,
        )
    if width and columns != width[1]:
        return (
            f"{got}; expected {width[1]} columns, the {width[0]} in {settings.label}{as_it_is}",
            None,
        )
    if tokens and rows > tokens:
        return None, (
            f"{shown(tensor)} has {rows:,} rows and {settings.label} a vocab_size of {tokens:,}: "
            f"the last {rows - tokens:,} have no token by it"
        )
    return None, None


def _with_pipeline(
    head: LocatedHead,
    checkpoint: Checkpoint,
    settings: Settings,
    known: KnownFamily | None,
    *,
    by_user: bool,
) -> LocatedHead:
    """Add bias, scale, softcap and norm.

    To a matrix that only the user calls the head the family's bias does not belong, and a norm of
    another size is unknown.
    """
    bias_tensor = _bias_tensor(head, checkpoint, None if by_user else known)
    n_tokens, width = head.form.info.shape
    if bias_tensor is not None:
        checkpoint.vector_format(bias_tensor)
        n_biases = checkpoint.tensors[bias_tensor].shape[-1]
        if n_biases != n_tokens:
            raise TensorShapeError(
                f"{shown(checkpoint.spec)}: {shown(bias_tensor)} has {n_biases} entries; "
                f"expected {n_tokens}, a row of {shown(head.tensor)} each"
            )
    head = replace(
        head,
        bias_tensor=bias_tensor,
        warnings=head.warnings + _unused(head, settings, known),
    )
    if known is None:
        why = f"what norm model_type {shown(head.family or '')} has is not known here"
        if head.family is None:
            why = "no config.json names the model's family"
        return replace(head, norm=unknown_norm(why))
    try:
        norm = locate_norm(checkpoint, known.family, settings, width=width)
    except TensorShapeError as error:
        if not by_user:
            raise
        norm = unknown_norm(str(error))
    if checkpoint.gguf is not None:
        scale, warnings = gguf_scale(checkpoint.gguf, shown(checkpoint.spec))
        return replace(
            head,
            scale=scale,
            softcap=gguf_softcap(checkpoint.gguf, shown(checkpoint.spec)),
            norm=norm,
            warnings=head.warnings + warnings,
        )
    caveat = (known.family.caveat,) if known.family.caveat else ()
    tied_by_config = tie_of(settings, known).expected is True
    return replace(
        head,
        scale=read_scale(known.model_type, settings, tied_by_config=tied_by_config),
        softcap=read_softcap(known.model_type, settings),
        norm=norm,
        warnings=head.warnings + caveat,
    )


def _unused(head: LocatedHead, settings: Settings, known: KnownFamily | None) -> tuple[str, ...]:
    return tuple(
        f"{settings.label} has {key}, and what model_type {shown(head.family or '(none)')} does "
        "with it is not known here: logits are taken without it"
        for key in unused_logit_keys(known.model_type if known else None, settings)
    )


def _bias_tensor(
    head: LocatedHead, checkpoint: Checkpoint, known: KnownFamily | None
) -> str | None:
    beside = f"{head.tensor.removesuffix('.weight')}.bias"
    if beside in checkpoint.tensors:
        return beside
    # A tied head has its weight under another name than its bias.
    return named(checkpoint.tensors, known.family.bias if known else (), shown(checkpoint.spec))
