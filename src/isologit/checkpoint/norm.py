"""The norm whose output the head sees: its γ as the model applies it, its β and ε.

Where anything about it is not known, the answer is "unknown" and the reason; never a guess.
"""

from dataclasses import dataclass

import numpy as np

from isologit.checkpoint.config import Settings
from isologit.checkpoint.families import Family, NormKind, NormRule
from isologit.checkpoint.locate import named, prefix
from isologit.checkpoint.open import Checkpoint
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorShapeError, UnsupportedFormatError
from isologit.numerics.formats import F32, Float64s, parse_format, round_to

# Where the body's embedding is not stored, its prefix is one of these.
_USUAL_PREFIXES = ("model.", "transformer.", "")
_EPS_KEYS = (
    *("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "layernorm_epsilon",
)


@dataclass(frozen=True, eq=False)
class FinalNorm:
    """The norm before the head.

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
    """

    kind: NormKind
    gamma: Float64s | None
    beta: Float64s | None
    eps: float | None
    source: str
    convention: str


def unknown_norm(why: str) -> FinalNorm:
    """Return a norm of which nothing is known."""
    return FinalNorm("unknown", None, None, None, why, "unknown")


def read_norm(
    checkpoint: Checkpoint, family: Family, settings: Settings, *, width: int
) -> FinalNorm:
    """Read the final norm of a model whose family is known.

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
        return FinalNorm(rule.kind, None, None, None, rule.why, rule.kind)
    eps = _eps(rule, settings)
    if not rule.parameters:
        return FinalNorm(
            rule.kind, np.ones(width), None, eps, "the family's norm has none", "no parameters"
        )
    if projected := _projection(checkpoint):
        return unknown_norm(f"{projected} stands between the norm and the head")
    weight = _find(checkpoint, family, ("weight", "gamma"))
    if weight is None:
        return unknown_norm(f"{rule.tensors[0]}.weight is not stored")
    try:
        stored = _values(checkpoint, weight, width)
        bias = _beside(checkpoint, weight)
        beta = _values(checkpoint, bias, width) if bias and rule.kind == "layer" else None
    except UnsupportedFormatError as error:
        return unknown_norm(str(error))
    match rule.one_plus:
        case None:
            gamma, convention = stored, "weight"
        case "f32":
            gamma, convention = round_to(1.0 + stored, F32), "1 + weight"
        case "stored":
            format_ = parse_format(checkpoint.tensors[weight].dtype)
            gamma, convention = round_to(1.0 + stored, format_), "1 + weight"
    return FinalNorm(rule.kind, gamma, beta, eps, weight, convention)


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


def _values(checkpoint: Checkpoint, name: str, width: int) -> Float64s:
    vector = checkpoint.vector(name)
    if vector.words.size != width:
        raise TensorShapeError(
            f"{shown(checkpoint.spec)}: {shown(name)} is "
            f"{shown_shape(checkpoint.tensors[name].shape)}; expected [{width}], as W has "
            f"{width} columns"
        )
    return vector.values


def _projection(checkpoint: Checkpoint) -> str | None:
    # OPT-350m: transformers, models/opt (word_embed_proj_dim).
    name = named(checkpoint.tensors, ("decoder.project_out.weight",), shown(checkpoint.spec))
    return shown(name) if name else None


def _eps(rule: NormRule, settings: Settings) -> float | None:
    given = None if rule.eps_fixed else settings.number(*_EPS_KEYS)
    return given[1] if given else rule.eps
