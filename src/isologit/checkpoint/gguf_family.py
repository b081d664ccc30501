"""What a GGUF header says of the head: its metadata as settings, and its tensors' names.

llama.cpp applies every norm's weight as it is stored: where a family keeps γ − 1 its converter has
added the 1 (convert_hf_to_gguf.py, Gemma's modify_tensors). The names are those of gguf-py's
constants.py, and what stands after the product is what src/llama-model.cpp builds.
"""

from collections.abc import Mapping
from typing import Any

from isologit.checkpoint.families import Family, KnownFamily, NormRule
from isologit.checkpoint.gguf_values import StringArray
from isologit.checkpoint.scale import LogitScale
from isologit.checkpoint.wording import shown
from isologit.errors import ConfigError

# Architectures whose graph multiplies the logits by `logit_scale`, and those that divide by it.
_MULTIPLIES = ("command-r", "cohere2", "grok")
_DIVIDES = ("granite", "granitemoe", "granitehybrid", "minicpm")
# Architectures whose graph scales by a constant of the code where the header gives none.
_SCALE_IN_CODE = ("minicpm", "minicpm3", "grok")
# What the cap is there (llama-hparams.h); 30 is Gemma 2's own.
_CAP_IN_CODE = {"gemma2": 30.0, "gemma3n": 30.0}
# OLMo's LayerNorm has no weight to store.
_NO_PARAMETERS = ("olmo",)
_RMS, _LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"


def architecture(metadata: Mapping[str, Any]) -> str | None:
    """Return ``general.architecture``; None where there is none."""
    found = metadata.get("general.architecture")
    return found if isinstance(found, str) and found else None


def gguf_tokenizer(metadata: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the kind of the header's own tokenizer, and how many tokens it has; None without one.

    The kinds are llama.cpp's: ``llama`` is SentencePiece's, ``gpt2`` byte-level merges.
    """
    kind, tokens = (metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "tokens"))
    if not isinstance(tokens, StringArray) or not len(tokens):
        return None
    return kind if isinstance(kind, str) else "unknown", len(tokens)


def gguf_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that concern the head, under the keys that a config.json has for them."""
    arch, tokenizer = architecture(metadata), gguf_tokenizer(metadata)
    found = {
        "model_type": arch,
        "vocab_size": metadata.get(f"{arch}.vocab_size"),
        "hidden_size": metadata.get(f"{arch}.embedding_length"),
        "rms_norm_eps": metadata.get(f"{arch}.{_RMS}"),
        "layer_norm_eps": metadata.get(f"{arch}.{_LAYER}"),
    }
    if found["vocab_size"] is None and tokenizer is not None:
        found["vocab_size"] = tokenizer[1]
    return {key: value for key, value in found.items() if value is not None}


def gguf_family(metadata: Mapping[str, Any], *, stores_output: bool) -> KnownFamily | None:
    """Return the names and conventions of a GGUF file; None where it names no architecture.

    Parameters
    ----------
    metadata
        The header's key-value pairs.
    stores_output
        Whether there is an ``output.weight``.
    """
    arch = architecture(metadata)
    if arch is None:
        return None
    return KnownFamily(
        arch,
        Family(
            model_types=(arch,),
            norm=_norm(arch, metadata),
            tied=not stores_output,
            tie_words=f"a GGUF file {'with' if stores_output else 'without'} output.weight is "
            f"{'untied' if stores_output else 'tied'}",
            output=("output.weight",),
            input=("token_embd.weight",),
            bias=("output.bias",),
        ),
    )


def _norm(arch: str, metadata: Mapping[str, Any]) -> NormRule:
    names = ("output_norm", "dec.output_norm")
    has_rms, has_layer = (f"{arch}.{key}" in metadata for key in (_RMS, _LAYER))
    if has_rms == has_layer:
        why = "the header gives no norm's ε"
        if has_rms:
            why = "the header gives the ε of an RMSNorm and of a LayerNorm"
        return NormRule("unknown", why=why)
    if has_rms:
        return NormRule("rms", names)
    return NormRule("layer", names, parameters=arch not in _NO_PARAMETERS)


def gguf_scale(
    metadata: Mapping[str, Any], where: str
) -> tuple[LogitScale | None, tuple[str, ...]]:
    """Return what the graph multiplies the logits by, and warnings where that is not known.

    Raises
    ------
    ConfigError
        The header's value is no number that could be it.
    """
    arch = architecture(metadata)
    key = f"{arch}.logit_scale"
    value = _number(metadata, key, where)
    if value is None:
        unsaid = (
            f"{shown(str(arch))} scales logits, and the header does not say by how much: they are "
            "taken without it"
        )
        return None, (unsaid,) if arch in _SCALE_IN_CODE else ()
    if arch in _MULTIPLIES:
        return LogitScale(value, key), ()
    if arch in _DIVIDES:
        return LogitScale(1 / value, key, divisor=value), ()
    return None, (
        f"the header has {shown(key)}, and what {shown(str(arch))} does with it is not known here: "
        "logits are taken without it",
    )


def gguf_softcap(metadata: Mapping[str, Any], where: str) -> float | None:
    """Return c of the ``c · tanh(ℓ / c)`` that the logits go through; None where they do not.

    Raises
    ------
    ConfigError
        The header's value is no number that could be it.
    """
    arch = architecture(metadata)
    key = f"{arch}.final_logit_softcapping"
    # 0 says that there is none (llama.cpp's converter for Gemma 3).
    if isinstance(found := metadata.get(key), int | float) and found == 0:
        return None
    value = _number(metadata, key, where)
    return _CAP_IN_CODE.get(str(arch)) if value is None else value


def _number(metadata: Mapping[str, Any], key: str, where: str) -> float | None:
    """Return a number other than 0 whose inverse is one too; None where there is no such key."""
    value = metadata.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1e-30 < abs(value) < 1e30:
        raise ConfigError(
            f"{where}: {shown(key)} is {shown(repr(value))}; expected a number of ordinary size "
            "other than 0"
        )
    return float(value)
