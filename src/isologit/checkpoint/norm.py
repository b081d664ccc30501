"""The norm whose output the head sees: its γ as the model applies it, its β and ε.

`locate_norm` finds it by headers alone, and `load_norm` reads its numbers. Where anything about it
is not known, the answer is "unknown" and the reason; never a guess.
"""

from dataclasses import dataclass, replace

import numpy as np

from isologit.checkpoint.config import Settings
from isologit.checkpoint.families import Family, NormKind, NormRule
from isologit.checkpoint.locate import named, prefix
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorShapeError, UnsupportedFormatError
from isologit.numerics.formats import F32, Float64s, Format, round_to

# Where the body's embedding is not stored, its prefix is one of these.
_USUAL_PREFIXES = ("model.", "transformer.", "")
_EPS_KEYS = (
    *("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "layernorm_epsilon",
)


@dataclass(frozen=True, eq=False)
class LocatedNorm:
    """The norm before the head, as headers and config tell of it.

    Parameters
    ----------
    kind, eps, source, convention
        Those of `FinalNorm`.
    weight, bias
        The tensors of γ and β; None where there is none.
    one_plus
        Where γ is stored less 1: the format that 1 + γ is computed in.
    family_kind
        Where the kind is "unknown" because γ is not stored: what the family's norm is.
    """

    kind: NormKind
    eps: float | None
    source: str
    convention: str
    weight: str | None = None
    bias: str | None = None
    one_plus: Format | None = None
    family_kind: NormKind = "unknown"

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of what is stored of it."""
        return tuple(name for name in (self.weight, self.bias) if name is not None)

    @property
    def has_gamma(self) -> bool:
        """Whether the multiplier is known."""
        return self.kind in ("rms", "layer")

    @property
    def has_beta(self) -> bool:
        """Whether something is added last."""
        return self.bias is not None


@dataclass(frozen=True, eq=False)
class FinalNorm:
    """The norm before the head, with its numbers.

    Parameters
    ----------
    kind
        "rms" or "layer"; "none" where the head sees no norm's output; "unknown".
    gamma
        ``[d]`` the multiplier as the model applies it, in binary64: where the family stores γ − 1,
        the 1 is added and the sum rounded as the model's code does. Ones where the norm has no
        parameters. None where the kind is "none" or "unknown".
    beta
        ``[d]`` what is added last; None where nothing is.
    eps
        What is added to the mean square or the variance; None where not known.
    source
        The tensor of γ, or why there is none.
    convention
        How γ is stored: "weight", "1 + weight", "no parameters"; "unknown" with the kind.
    family_kind
        Where the kind is "unknown" because γ is not stored: what the family's norm is.
    """

    kind: NormKind
    gamma: Float64s | None
    beta: Float64s | None
    eps: float | None
    source: str
    convention: str
    family_kind: NormKind = "unknown"

    @property
    def has_gamma(self) -> bool:
        """Whether the multiplier is known."""
        return self.gamma is not None

    @property
    def has_beta(self) -> bool:
        """Whether something is added last."""
        return self.beta is not None


def unknown_norm(why: str) -> LocatedNorm:
    """Return a norm of which nothing is known."""
    return LocatedNorm("unknown", None, why, "unknown")


def locate_norm(
    checkpoint: Checkpoint, family: Family, settings: Settings, *, width: int
) -> LocatedNorm:
    """Find the final norm of a model whose family is known.

    Parameters
    ----------
    width
        d, the columns of W.

    Raises
    ------
    TensorShapeError
        γ or β is stored with another size than d.
    """
    rule = family.norm
    if rule.kind in ("none", "unknown"):
        return LocatedNorm(rule.kind, None, rule.why, rule.kind)
    eps = _eps(rule, settings)
    if not rule.parameters:
        return LocatedNorm(rule.kind, eps, "the family's norm has none", "no parameters")
    if projected := _projection(checkpoint):
        return unknown_norm(f"{projected} stands between the norm and the head")
    weight = _find(checkpoint, family, ("weight", "gamma"))
    if weight is None:
        unknown = unknown_norm(f"{rule.tensors[0]}.weight is not stored")
        return replace(unknown, family_kind=rule.kind)
    bias = _beside(checkpoint, weight) if rule.kind == "layer" else None
    try:
        formats = [_format(checkpoint, name, width) for name in (weight, bias) if name is not None]
    except UnsupportedFormatError as error:
        return unknown_norm(str(error))
    one_plus = {None: None, "f32": F32, "stored": formats[0]}[rule.one_plus]
    convention = "1 + weight" if one_plus else "weight"
    return LocatedNorm(rule.kind, eps, weight, convention, weight, bias, one_plus)


def load_norm(checkpoint: Checkpoint, located: LocatedNorm, width: int) -> FinalNorm:
    """Read the numbers of a norm that has been found.

    Raises
    ------
    HubError
        They could not be fetched.
    """
    gamma = np.ones(width) if located.has_gamma else None
    if located.weight is not None:
        gamma = checkpoint.vector(located.weight).values
        if located.one_plus is not None:
            gamma = round_to(1.0 + gamma, located.one_plus)
    beta = None if located.bias is None else checkpoint.vector(located.bias).values
    return FinalNorm(
        located.kind,
        gamma,
        beta,
        located.eps,
        located.source,
        located.convention,
        located.family_kind,
    )


def _find(checkpoint: Checkpoint, family: Family, endings: tuple[str, ...]) -> str | None:
    where = shown(checkpoint.spec)
    embedding = named(checkpoint.tensors, family.input, where)
    body = (
        _USUAL_PREFIXES
        if embedding is None
        else (prefix(embedding, family.input), *_USUAL_PREFIXES)
    )
    names = [f"{stem}.{ending}" for stem in family.norm.tensors for ending in endings]
    for name in names:
        for before in body:
            if before + name in checkpoint.tensors:
                return before + name
    # A name of several parts (cls.predictions.transform.LayerNorm) means one thing anywhere.
    return named(checkpoint.tensors, [n for n in names if n.count(".") > 1], where)


def _beside(checkpoint: Checkpoint, weight: str) -> str | None:
    stem, _, ending = weight.rpartition(".")
    name = f"{stem}.{'beta' if ending == 'gamma' else 'bias'}"
    return name if name in checkpoint.tensors else None


def _format(checkpoint: Checkpoint, name: str, width: int) -> Format:
    """Return the format of a vector ``[d]``."""
    shape, format_ = checkpoint.tensors[name].shape, checkpoint.vector_format(name)
    if shape[-1] != width:
        raise TensorShapeError(
            f"{shown(checkpoint.spec)}: {shown(name)} is {shown_shape(shape)}; expected "
            f"[{width}], as W has {width} columns"
        )
    return format_


def _projection(checkpoint: Checkpoint) -> str | None:
    # OPT-350m: transformers, models/opt (word_embed_proj_dim).
    name = named(checkpoint.tensors, ("decoder.project_out.weight",), shown(checkpoint.spec))
    return shown(name) if name else None


def _eps(rule: NormRule, settings: Settings) -> float | None:
    given = None if rule.eps_fixed else settings.number(*_EPS_KEYS)
    return given[1] if given else rule.eps
