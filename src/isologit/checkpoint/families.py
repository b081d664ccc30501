"""What each model family calls its tensors, and by which convention it stores its final norm.

A table and nothing else: `locate.py` searches by it, `norm.py` and `scale.py` apply it. The facts
are those of each family's module in huggingface/transformers (`src/transformers/models/<type>/`),
or, where there is none, of the `modeling_*.py` that its authors publish with the weights.

A name in the table is what follows the prefix of the model's body: ``embed_tokens.weight`` stands
for ``model.embed_tokens.weight`` and ``model.language_model.embed_tokens.weight`` alike.
"""

from dataclasses import dataclass, replace
from typing import Literal

NormKind = Literal["rms", "layer", "none", "unknown"]


@dataclass(frozen=True)
class NormRule:
    """How a family stores the norm before its head.

    Parameters
    ----------
    kind
        RMS or layer norm; "none" where the head sees the residual stream itself; "unknown" where
        something else stands between the norm and the head, and `why` says what.
    tensors
        Names without their ``.weight`` or ``.bias``, in order of preference.
    one_plus
        Where γ is stored less 1: what 1 + γ is computed in, ``f32`` or the ``stored`` format.
    parameters
        False where the norm has none to store.
    eps
        The ε that the family's code falls back to where the config gives none.
    eps_fixed
        The code takes no other: whatever the config gives is for the other norms.
    why
        For "none" and "unknown": the reason, for people.
    """

    kind: NormKind
    tensors: tuple[str, ...] = ()
    one_plus: Literal["f32", "stored"] | None = None
    parameters: bool = True
    eps: float | None = None
    eps_fixed: bool = False
    why: str = ""


@dataclass(frozen=True)
class Family:
    """The names and defaults that some model types share.

    Parameters
    ----------
    model_types
        Values of ``model_type`` in a config.
    norm
        The norm before the head.
    tied
        Whether the head is tied where the config does not say.
    output, input
        The matrices, in order of preference.
    bias
        Biases of the head that have a name of their own; ``X.bias`` beside ``X.weight`` is
        looked for in any case.
    width
        Keys of the config that give the columns of W, before the usual ones.
    caveat
        What the family's code does besides that the stored tensors do not show.
    tie_words
        Why the head is tied or not, where that is no matter of a config.
    """

    model_types: tuple[str, ...]
    norm: NormRule
    tied: bool
    output: tuple[str, ...] = ("lm_head.weight",)
    input: tuple[str, ...] = ("embed_tokens.weight",)
    bias: tuple[str, ...] = ("lm_head.bias",)
    width: tuple[str, ...] = ()
    caveat: str = ""
    tie_words: str = ""


def _types(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_POST_NORM = "every layer ends in a norm of its own, and none stands before the head"

_LLAMA = Family(
    _types(
        "llama mistral mixtral ministral ministral3 qwen2 qwen2_moe qwen3 qwen3_moe phi3 phi3_v "
        "phi4mm deepseek deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 kimi_linear olmo2 olmo3 "
        "olmoe flex_olmo glm glm4 glm4_moe glm4v glm4v_moe exaone4 exaone_moe seed_oss "
        "hunyuan_v1_dense hunyuan_v1_moe dots1 gpt_oss minimax minimax_m2 helium arcee apertus "
        "cwm diffllama internlm internlm3 yi aquila xverse llama4 mllama granite granitemoe "
        "granitemoeshared granitemoehybrid bitnet longcat_flash mimo qwen2_vl qwen2_5_vl "
        "qwen2_5_omni qwen3_vl qwen3_vl_moe qwen3_omni_moe"
    ),
    NormRule("rms", ("norm",)),
    tied=False,
)
_LLAMA_TIED = replace(
    _LLAMA,
    model_types=_types("smollm3 ernie4_5 ernie4_5_moe minicpm minicpm3 jetmoe"),
    tied=True,
)
_GEMMA = Family(
    _types("gemma gemma2 gemma3 vaultgemma"),
    NormRule("rms", ("norm",), one_plus="f32", eps=1e-6),
    tied=True,
)
_GPT2 = Family(
    _types("gpt2 gpt_bigcode gpt_neo"),
    NormRule("layer", ("ln_f",), eps=1e-5),
    tied=True,
    input=("wte.weight",),
)
_MAMBA = Family(
    _types("mamba falcon_mamba"),
    NormRule("rms", ("norm_f",), eps=1e-5),
    tied=True,
    input=("embeddings.weight", "embedding.weight"),
)
_BERT = Family(
    _types("bert megatron-bert ernie"),
    NormRule("layer", ("cls.predictions.transform.LayerNorm",), eps=1e-12),
    tied=True,
    output=("cls.predictions.decoder.weight",),
    input=("embeddings.word_embeddings.weight",),
    bias=("cls.predictions.bias", "cls.predictions.decoder.bias"),
)
_T5 = Family(
    _types("t5 umt5 longt5 switch_transformers"),
    NormRule("rms", ("decoder.final_layer_norm",), eps=1e-6),
    tied=True,
    input=("shared.weight", "decoder.embed_tokens.weight"),
)
_BART = Family(
    _types("mbart pegasus pegasus_x m2m_100 nllb-moe blenderbot"),
    NormRule("layer", ("decoder.layer_norm",), eps=1e-5, eps_fixed=True),
    tied=True,
    input=("shared.weight", "decoder.embed_tokens.weight"),
    bias=("final_logits_bias",),
)

_FAMILIES = (
    _LLAMA,
    _LLAMA_TIED,
    replace(
        _LLAMA,
        model_types=_types("baichuan"),
        caveat="Baichuan 2 divides each row of W by its norm when it runs; W is taken as stored",
    ),
    replace(
        _LLAMA,
        model_types=_types("internlm2"),
        output=("output.weight",),
        input=("tok_embeddings.weight",),
    ),
    replace(
        _LLAMA_TIED,
        model_types=_types("lfm2 lfm2_moe"),
        norm=NormRule("rms", ("embedding_norm",)),
    ),
    replace(
        _LLAMA,
        model_types=_types("jamba bamba falcon_h1"),
        norm=NormRule("rms", ("final_layernorm",)),
    ),
    replace(
        _LLAMA_TIED,
        model_types=_types("zamba zamba2"),
        norm=NormRule("rms", ("final_layernorm",)),
    ),
    replace(
        _LLAMA,
        model_types=_types("qwen"),
        input=("wte.weight",),
        norm=NormRule("rms", ("ln_f",), eps=1e-6),
    ),
    replace(
        _LLAMA_TIED,
        model_types=_types("exaone"),
        input=("wte.weight",),
        norm=NormRule("rms", ("ln_f",), eps=1e-5),
    ),
    replace(
        _LLAMA,
        model_types=_types("qwen3_next qwen3_5 qwen3_5_moe"),
        norm=NormRule("rms", ("norm",), one_plus="f32", eps=1e-6),
    ),
    replace(
        _LLAMA,
        model_types=_types("stablelm stablelm_epoch orion phimoe"),
        norm=NormRule("layer", ("norm",), eps=1e-5),
    ),
    replace(
        _LLAMA_TIED,
        model_types=_types("starcoder2 cohere cohere2"),
        norm=NormRule("layer", ("norm",), eps=1e-5),
    ),
    replace(
        # NemotronLayerNorm1P adds the 1 in the weight's own format.
        _LLAMA,
        model_types=_types("nemotron"),
        norm=NormRule("layer", ("norm",), one_plus="stored", eps=1e-5),
    ),
    replace(
        _LLAMA,
        model_types=_types("olmo"),
        norm=NormRule("layer", parameters=False, eps=1e-5, eps_fixed=True),
    ),
    replace(
        _LLAMA,
        model_types=_types("phi persimmon"),
        norm=NormRule("layer", ("final_layernorm",), eps=1e-5),
    ),
    replace(
        _LLAMA,
        model_types=_types("chatglm"),
        output=("output_layer.weight",),
        input=("embedding.word_embeddings.weight",),
        norm=NormRule("rms", ("encoder.final_layernorm",), eps=1e-5),
    ),
    _GEMMA,
    replace(
        # From 3n on γ is stored as it is applied.
        _GEMMA,
        model_types=_types("gemma3n gemma4"),
        norm=NormRule("rms", ("norm",), eps=1e-6),
    ),
    replace(
        _GEMMA,
        model_types=_types("recurrent_gemma"),
        norm=NormRule("rms", ("final_norm",), one_plus="f32", eps=1e-6),
    ),
    replace(
        _GEMMA,
        model_types=_types("t5gemma t5_gemma_module"),
        output=("lm_head.out_proj.weight",),
        input=("decoder.embed_tokens.weight",),
        norm=NormRule("rms", ("decoder.norm",), one_plus="f32", eps=1e-6),
    ),
    _GPT2,
    replace(_GPT2, model_types=_types("gptj codegen"), tied=False),
    replace(
        _GPT2,
        model_types=_types("openai-gpt"),
        input=("tokens_embed.weight",),
        norm=NormRule("unknown", why=_POST_NORM),
    ),
    replace(
        _GPT2,
        model_types=_types("gpt_neox"),
        output=("embed_out.weight",),
        input=("embed_in.weight",),
        norm=NormRule("layer", ("final_layer_norm",), eps=1e-5),
        tied=False,
    ),
    replace(
        _GPT2,
        model_types=_types("bloom falcon RefinedWeb RefinedWebModel"),
        input=("word_embeddings.weight",),
    ),
    replace(_GPT2, model_types=_types("mpt"), norm=NormRule("layer", ("norm_f",), eps=1e-5)),
    replace(
        _GPT2,
        model_types=_types("dbrx"),
        norm=NormRule("layer", ("norm_f",), eps=1e-5, eps_fixed=True),
        tied=False,
    ),
    replace(
        _GPT2,
        model_types=_types("opt"),
        input=("decoder.embed_tokens.weight",),
        norm=NormRule("layer", ("decoder.final_layer_norm",), eps=1e-5, eps_fixed=True),
        width=("word_embed_proj_dim",),
    ),
    replace(
        _GPT2,
        model_types=_types("xglm"),
        input=("embed_tokens.weight",),
        norm=NormRule("layer", ("layer_norm",), eps=1e-5, eps_fixed=True),
    ),
    replace(
        _GPT2,
        model_types=_types("biogpt"),
        output=("output_projection.weight",),
        input=("embed_tokens.weight",),
        norm=NormRule("layer", ("layer_norm",), eps=1e-5, eps_fixed=True),
    ),
    replace(
        _GPT2,
        model_types=_types("ctrl"),
        input=("w.weight",),
        norm=NormRule("layer", ("layernorm",), eps=1e-6),
    ),
    replace(
        # BlinkDL's own names, and those of the conversion to transformers.
        _GPT2,
        model_types=_types("rwkv rwkv5 rwkv6 rwkv7"),
        output=("head.weight", "lm_head.weight"),
        input=("embeddings.weight", "emb.weight"),
        norm=NormRule("layer", ("ln_out", "norm"), eps=1e-5),
        tied=False,
    ),
    _MAMBA,
    replace(_MAMBA, model_types=_types("mamba2 nemotron_h"), tied=False),
    replace(
        _MAMBA,
        model_types=_types("xlstm"),
        norm=NormRule("rms", ("out_norm",), eps=1e-6),
        tied=False,
    ),
    _BERT,
    replace(
        _BERT,
        model_types=_types("roberta xlm-roberta xlm-roberta-xl camembert data2vec-text mpnet"),
        output=("lm_head.decoder.weight",),
        bias=("lm_head.bias", "lm_head.decoder.bias"),
        norm=NormRule("layer", ("lm_head.layer_norm",), eps=1e-5),
    ),
    replace(
        _BERT,
        model_types=_types("distilbert"),
        output=("vocab_projector.weight",),
        bias=("vocab_projector.bias",),
        norm=NormRule("layer", ("vocab_layer_norm",), eps=1e-12, eps_fixed=True),
    ),
    replace(
        _BERT,
        model_types=_types("electra"),
        output=("generator_lm_head.weight",),
        bias=("generator_lm_head.bias",),
        norm=NormRule("layer", ("generator_predictions.LayerNorm",), eps=1e-12),
        width=("embedding_size",),
    ),
    replace(
        _BERT,
        model_types=_types("albert"),
        output=("predictions.decoder.weight",),
        bias=("predictions.bias", "predictions.decoder.bias"),
        norm=NormRule("layer", ("predictions.LayerNorm",), eps=1e-12),
        width=("embedding_size",),
    ),
    replace(
        _BERT,
        model_types=_types("modernbert"),
        output=("decoder.weight",),
        input=("embeddings.tok_embeddings.weight",),
        bias=("decoder.bias",),
        norm=NormRule("layer", ("head.norm",), eps=1e-5),
    ),
    _T5,
    replace(_T5, model_types=_types("mt5"), tied=False),
    _BART,
    replace(
        _BART,
        model_types=_types("bart marian blenderbot-small led"),
        norm=NormRule("unknown", why=_POST_NORM),
    ),
    replace(
        _BART,
        model_types=_types("whisper"),
        output=("proj_out.weight",),
        input=("decoder.embed_tokens.weight",),
        bias=(),
    ),
)

_BY_MODEL_TYPE = {t: family for family in _FAMILIES for t in family.model_types}

# Where the family is not known, any of these may be the matrix: what the table above holds, and
# `W`, the one tensor of the file that the seed's notebook writes.
ANY_OUTPUT = tuple(dict.fromkeys(name for family in _FAMILIES for name in family.output))
ANY_INPUT = tuple(dict.fromkeys(name for family in _FAMILIES for name in family.input))


@dataclass(frozen=True)
class KnownFamily:
    """A family, and the model type that led to it, without the suffix of a text part."""

    model_type: str
    family: Family


def family_of(model_types: tuple[str, ...]) -> KnownFamily | None:
    """Return the family of the first model type that the table knows.

    Parameters
    ----------
    model_types
        As a config gives them, innermost first. ``qwen2_5_vl_text`` and ``mllama_text_model`` are
        the language models of ``qwen2_5_vl`` and ``mllama``.
    """
    for model_type in model_types:
        for name in (model_type, model_type.removesuffix("_model").removesuffix("_text")):
            if name in _BY_MODEL_TYPE:
                return KnownFamily(name, _BY_MODEL_TYPE[name])
    return None
