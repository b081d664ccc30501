"""What a head multiplies by, and the softcap that it may end in; both from the config alone."""

from dataclasses import dataclass
from typing import Literal

from isologit.checkpoint.config import Settings
from isologit.errors import ConfigError

_CAP = "final_logit_softcapping"
# Keys that change the logits in some family; where this one is not it, they are pointed out.
_LOGIT_KEYS = (
    *("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier_scale"),
    *("dim_model_base", _CAP, "logits_soft_cap", "output_logit_soft_cap"),
)
# What each softcapping family calls c, and c where the config is silent: transformers,
# models/<type>/configuration_<type>.py.
_SOFTCAPS: dict[str, tuple[str, float | None]] = {
    "gemma2": (_CAP, 30.0),
    "gemma3": (_CAP, None),
    "gemma3n": (_CAP, 30.0),
    "gemma4": (_CAP, None),
    "vaultgemma": (_CAP, 30.0),
    "t5gemma": (_CAP, 30.0),
    "t5_gemma_module": (_CAP, 30.0),
    "recurrent_gemma": ("logits_soft_cap", 30.0),
    "xlstm": ("output_logit_soft_cap", 30.0),
}
# Beyond it no format that a head is computed in holds what it makes of a logit.
_WIDEST_SCALE = 1e38
_USED = {
    **{model_type: (key,) for model_type, (key, _) in _SOFTCAPS.items()},
    **dict.fromkeys(("cohere", "cohere2"), ("logit_scale",)),
    **dict.fromkeys(
        ("granite", "granitemoe", "granitemoeshared", "granitemoehybrid"), ("logits_scaling",)
    ),
    **dict.fromkeys(("minicpm", "minicpm3"), ("dim_model_base",)),
    "falcon_h1": ("lm_head_multiplier",),
}


@dataclass(frozen=True)
class LogitScale:
    """A constant that multiplies the logits, or the state before they are formed.

    Parameters
    ----------
    multiply
        The factor s. Where the family divides it is 1 / `divisor`, rounded to binary64.
    source
        The key of the config that it comes from, or the family's rule.
    divisor
        What the model's code divides by, exactly; None where it multiplies.
    applies_to
        "logits": they are s · (W h + b). "state": h is scaled before, and they are W (s h) + b.
    """

    multiply: float
    source: str
    divisor: float | None = None
    applies_to: Literal["logits", "state"] = "logits"


def read_scale(model_type: str, settings: Settings, *, tied_by_config: bool) -> LogitScale | None:
    """Return the logit scale of a family, or None where its head has none.

    Parameters
    ----------
    tied_by_config
        Whether the config says that the head is tied, or the family's default does; which tensor
        is used in the end does not change the scale.

    Raises
    ------
    ConfigError
        The value is not a number other than 0, or beyond what binary32 holds.
    """
    match model_type:
        case "cohere" | "cohere2":
            # transformers, models/cohere: CohereConfig.logit_scale, 0.0625 where not given.
            return _multiplied(settings, "logit_scale", 0.0625)
        case "falcon_h1":
            # transformers, models/falcon_h1: lm_head_multiplier, 1.0 where not given.
            return _multiplied(settings, "lm_head_multiplier", None)
        case "granite" | "granitemoe" | "granitemoeshared" | "granitemoehybrid":
            # transformers, models/granite: logits / logits_scaling, 1.0 where not given.
            return _divided(_nonzero(settings, "logits_scaling"), "logits_scaling", "logits")
        case "minicpm" | "minicpm3":
            # openbmb/MiniCPM, modeling_minicpm.py: hidden_states / (hidden_size / dim_model_base).
            base, width = settings.integer("dim_model_base"), settings.integer("hidden_size")
            if base is None or width is None:
                return None
            return _divided(width[1] / base[1], "hidden_size / dim_model_base", "state")
        case "t5" | "mt5" | "umt5" | "longt5" | "switch_transformers":
            return _t5(settings, tied_by_config)
    return None


def read_softcap(model_type: str, settings: Settings) -> float | None:
    """Return c where the logits end in c · tanh(ℓ / c); None where they do not.

    Raises
    ------
    ConfigError
        The value is not a positive number.
    """
    if model_type not in _SOFTCAPS:
        return None
    key, default = _SOFTCAPS[model_type]
    given = settings.number(key)
    if given is None:
        # An explicit null switches the cap off; only silence means the default.
        return None if settings.has(key) else default
    if given[1] <= 0:
        raise ConfigError(f"{settings.where}: {key} is {given[1]}; expected a positive number")
    return given[1]


def unused_logit_keys(model_type: str | None, settings: Settings) -> tuple[str, ...]:
    """Return the keys of a config that change logits in some family, and not in this one."""
    used = _USED.get(model_type or "", ())
    return tuple(
        key
        for key in _LOGIT_KEYS
        if key not in used and any(value != 1 for value in settings.given(key))
    )


def _t5(settings: Settings, tied_by_config: bool) -> LogitScale | None:
    # transformers, models/t5: the decoder's output times d_model ** -0.5 where the config says
    # tied; from 5 on it saves that as scale_decoder_outputs and says tied in any case.
    flags = settings.flags("scale_decoder_outputs")
    width = settings.integer("d_model", "hidden_size")
    if width is None or not (flags[0] if flags else tied_by_config):
        return None
    return LogitScale(width[1] ** -0.5, f"{width[0]} ** -0.5", None, "state")


def _multiplied(settings: Settings, key: str, default: float | None) -> LogitScale | None:
    value = _nonzero(settings, key)
    if value is not None:
        return LogitScale(value, key)
    return LogitScale(default, f"the family's default of {key}") if default else None


def _divided(
    divisor: float | None, source: str, applies_to: Literal["logits", "state"]
) -> LogitScale | None:
    return LogitScale(1 / divisor, source, divisor, applies_to) if divisor is not None else None


def _nonzero(settings: Settings, key: str) -> float | None:
    given = settings.number(key)
    if given is None:
        return None
    if given[1] == 0:
        raise ConfigError(f"{settings.where}: {key} is 0, which makes every logit alike")
    if not 1 / _WIDEST_SCALE <= abs(given[1]) <= _WIDEST_SCALE:
        raise ConfigError(
            f"{settings.where}: {key} is {given[1]:g}, with which no logit is a number of float32; "
            f"expected a magnitude of {1 / _WIDEST_SCALE:g} to {_WIDEST_SCALE:g}"
        )
    return given[1]
