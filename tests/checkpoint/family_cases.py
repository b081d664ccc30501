"""One tiny checkpoint a family, with the names, prefixes and config keys that it really uses."""

from dataclasses import dataclass
from typing import Any

V, D = 11, 4
W, G = (V, D), (D,)


@dataclass(frozen=True)
class Case:
    """What a family stores and says, and what must come of it."""

    name: str
    config: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]
    tensor: str
    tied: bool | None
    kind: str
    gamma: str = ""
    beta: str = ""
    convention: str = "weight"
    eps: float | None = None
    bias: str | None = None
    scale: tuple[float, float | None, str] | None = None
    softcap: float | None = None
    warnings: tuple[str, ...] = ()


def llama(prefix: str = "model.", *, head: str | None = "lm_head.weight") -> dict[str, Any]:
    """Return the tensors of a Llama: an embedding, a block, a final norm, and perhaps a head."""
    stored: dict[str, Any] = {
        f"{prefix}embed_tokens.weight": W,
        f"{prefix}layers.0.self_attn.q_proj.weight": (D, D),
        f"{prefix}layers.0.mlp.up_proj.weight": (V, D),
        f"{prefix}layers.0.input_layernorm.weight": G,
        f"{prefix}norm.weight": G,
    }
    return stored | ({head: W} if head else {})


def config(model_type: str, **values: Any) -> dict[str, Any]:
    """Return a config of the usual keys."""
    return {"model_type": model_type, "vocab_size": V, "hidden_size": D} | values


EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
NORM, NORM_BIAS = "model.norm.weight", "model.norm.bias"
LN_F, LN_F_BIAS = "transformer.ln_f.weight", "transformer.ln_f.bias"

# A table, in few lines so that it can be looked through.
# fmt: off
CASES = [
    Case(
        "llama_untied_by_default",
        config("llama", rms_norm_eps=1e-5),
        llama(),
        HEAD, False, "rms", NORM, eps=1e-5,
    ),
    Case(
        "qwen3_tied",
        config("qwen3", tie_word_embeddings=True, rms_norm_eps=1e-6),
        llama(head=None),
        EMBED, True, "rms", NORM, eps=1e-6,
    ),
    Case(
        "mistral_untied",
        config("mistral", tie_word_embeddings=False, rms_norm_eps=1e-5),
        llama(),
        HEAD, False, "rms", NORM, eps=1e-5,
    ),
    Case(
        "mistral3_multimodal",
        {"model_type": "mistral3", "text_config": config("mistral", tie_word_embeddings=False,
        rms_norm_eps=1e-5), "vision_config": {"model_type": "pixtral", "hidden_size": 7,
        "vocab_size": 99}},
        llama("language_model.model.", head="language_model.lm_head.weight")
        | {"vision_tower.norm.weight": (7,), "vision_tower.lm_head.weight": (3, 7)},
        "language_model.lm_head.weight", False, "rms", "language_model.model.norm.weight",
        eps=1e-5,
    ),
    Case(
        "qwen2_vl_flat_config",
        config("qwen2_vl", tie_word_embeddings=True, rms_norm_eps=1e-6),
        llama(head=None) | {"visual.blocks.0.norm1.weight": (7,)},
        EMBED, True, "rms", NORM, eps=1e-6,
    ),
    Case(
        "qwen2_5_omni_thinker",
        {"model_type": "qwen2_5_omni", "thinker_config": {"model_type": "qwen2_5_omni_thinker",
        "text_config": config("qwen2_5_omni_text", tie_word_embeddings=False, rms_norm_eps=1e-6)},
        "talker_config": {"vocab_size": 5}},
        llama("thinker.model.", head="thinker.lm_head.weight")
        | {"talker.model.embed_tokens.weight": (5, 3), "talker.model.norm.weight": (3,)},
        "thinker.lm_head.weight", False, "rms", "thinker.model.norm.weight", eps=1e-6,
    ),
    Case(
        "mllama_whose_embedding_has_more_rows",
        {"model_type": "mllama",
        "text_config": config("mllama_text_model", tie_word_embeddings=False)},
        llama("language_model.model.", head="language_model.lm_head.weight")
        | {"language_model.model.embed_tokens.weight": (V + 8, D)},
        "language_model.lm_head.weight", False, "rms", "language_model.model.norm.weight",
    ),
    Case(
        "deepseek_v3_with_a_prediction_module",
        config("deepseek_v3", tie_word_embeddings=False, rms_norm_eps=1e-6),
        llama() | {"model.layers.61.embed_tokens.weight": W,
        "model.layers.61.shared_head.head.weight": W,
        "model.layers.61.shared_head.norm.weight": G},
        HEAD, False, "rms", NORM, eps=1e-6,
    ),
    Case(
        "internlm2_names",
        config("internlm2", tie_word_embeddings=False, rms_norm_eps=1e-5),
        {"model.tok_embeddings.weight": W, "model.norm.weight": G, "output.weight": W},
        "output.weight", False, "rms", NORM, eps=1e-5,
    ),
    Case(
        "lfm2_norm_by_another_name",
        config("lfm2", norm_eps=1e-5),
        {EMBED: W, "model.embedding_norm.weight": G},
        EMBED, True, "rms", "model.embedding_norm.weight", eps=1e-5,
    ),
    Case(
        "jamba",
        config("jamba", rms_norm_eps=1e-6),
        {EMBED: W, HEAD: W, "model.final_layernorm.weight": G},
        HEAD, False, "rms", "model.final_layernorm.weight", eps=1e-6,
    ),
    Case(
        "gemma_one_plus_weight",
        config("gemma", rms_norm_eps=1e-6),
        llama(head=None),
        EMBED, True, "rms", NORM, convention="1 + weight", eps=1e-6,
    ),
    Case(
        "gemma2_softcap",
        config("gemma2", final_logit_softcapping=20.0),
        llama(head=None),
        EMBED, True, "rms", NORM, convention="1 + weight", eps=1e-6, softcap=20.0,
    ),
    Case(
        "gemma2_softcap_where_the_config_is_silent",
        config("gemma2"),
        llama(head=None),
        EMBED, True, "rms", NORM, convention="1 + weight", eps=1e-6, softcap=30.0,
    ),
    Case(
        "gemma2_softcap_switched_off",
        config("gemma2", final_logit_softcapping=None),
        llama(head=None),
        EMBED, True, "rms", NORM, convention="1 + weight", eps=1e-6,
    ),
    Case(
        "gemma3_multimodal",
        {"model_type": "gemma3", "text_config": config("gemma3_text")},
        llama("language_model.model.", head=None),
        "language_model.model.embed_tokens.weight", True, "rms",
        "language_model.model.norm.weight", convention="1 + weight", eps=1e-6,
    ),
    Case(
        "gemma3n_plain_weight_and_per_layer_embeddings",
        {"model_type": "gemma3n", "text_config": config("gemma3n_text")},
        llama("model.language_model.", head=None)
        | {"model.language_model.embed_tokens_per_layer.weight": (V, 3 * D)},
        "model.language_model.embed_tokens.weight", True, "rms",
        "model.language_model.norm.weight", eps=1e-6, softcap=30.0,
    ),
    Case(
        "recurrent_gemma",
        config("recurrent_gemma", logits_soft_cap=30.0),
        {EMBED: W, "model.final_norm.weight": G},
        EMBED, True, "rms", "model.final_norm.weight", convention="1 + weight", eps=1e-6,
        softcap=30.0,
    ),
    Case(
        "t5gemma_decoder",
        {"model_type": "t5gemma", "decoder": config("t5_gemma_module", rms_norm_eps=1e-6)},
        {"model.encoder.embed_tokens.weight": W, "model.decoder.embed_tokens.weight": W,
        "model.encoder.norm.weight": G, "model.decoder.norm.weight": G},
        "model.decoder.embed_tokens.weight", True, "rms", "model.decoder.norm.weight",
        convention="1 + weight", eps=1e-6, softcap=30.0,
    ),
    Case(
        "qwen3_next_one_plus_weight_and_mtp",
        config("qwen3_next", tie_word_embeddings=False, rms_norm_eps=1e-6),
        llama() | {"mtp.norm.weight": G, "mtp.lm_head.weight": W},
        HEAD, False, "rms", NORM, convention="1 + weight", eps=1e-6,
    ),
    Case(
        "cohere_scale_and_norm_without_bias",
        config("cohere", logit_scale=0.25, layer_norm_eps=1e-5),
        llama(head=None),
        EMBED, True, "layer", NORM, eps=1e-5, scale=(0.25, None, "logits"),
    ),
    Case(
        "cohere2_scale_where_the_config_is_silent",
        config("cohere2"),
        llama(head=None),
        EMBED, True, "layer", NORM, eps=1e-5, scale=(0.0625, None, "logits"),
    ),
    Case(
        "granite_divides",
        config("granite", tie_word_embeddings=True, logits_scaling=3.0, rms_norm_eps=1e-5),
        llama(head=None),
        EMBED, True, "rms", NORM, eps=1e-5, scale=(1 / 3, 3.0, "logits"),
    ),
    Case(
        "minicpm_divides_the_state",
        config("minicpm", dim_model_base=2, rms_norm_eps=1e-5),
        llama(head=None),
        EMBED, True, "rms", NORM, eps=1e-5, scale=(0.5, 2.0, "state"),
    ),
    Case(
        "falcon_h1_multiplies",
        config("falcon_h1", lm_head_multiplier=0.03125, rms_norm_eps=1e-5),
        {EMBED: W, HEAD: W, "model.final_layernorm.weight": G},
        HEAD, False, "rms", "model.final_layernorm.weight", eps=1e-5, scale=(0.03125, None,
        "logits"),
    ),
    Case(
        "stablelm_layer_norm",
        config("stablelm", layer_norm_eps=1e-5),
        llama() | {"model.norm.bias": G},
        HEAD, False, "layer", NORM, NORM_BIAS, eps=1e-5,
    ),
    Case(
        "starcoder2",
        config("starcoder2", norm_epsilon=1e-5),
        llama(head=None) | {"model.norm.bias": G},
        EMBED, True, "layer", NORM, NORM_BIAS, eps=1e-5,
    ),
    Case(
        "nemotron_layer_norm_one_plus_weight",
        config("nemotron", norm_eps=1e-5),
        llama() | {"model.norm.bias": G},
        HEAD, False, "layer", NORM, NORM_BIAS, convention="1 + weight", eps=1e-5,
    ),
    Case(
        "phi_with_bias",
        config("phi", layer_norm_eps=1e-5),
        {EMBED: W, HEAD: W, "lm_head.bias": (V,), "model.final_layernorm.weight": G,
        "model.final_layernorm.bias": G},
        HEAD, False, "layer", "model.final_layernorm.weight", "model.final_layernorm.bias",
        eps=1e-5, bias="lm_head.bias",
    ),
    Case(
        "phi3_is_a_llama",
        config("phi3", rms_norm_eps=1e-5),
        llama(),
        HEAD, False, "rms", NORM, eps=1e-5,
    ),
    Case(
        "olmo_norm_without_parameters",
        config("olmo"),
        {EMBED: W, HEAD: W},
        HEAD, False, "layer", convention="no parameters", eps=1e-5,
    ),
    Case(
        "gpt2_without_prefix",
        {"model_type": "gpt2", "vocab_size": V, "n_embd": D, "layer_norm_epsilon": 1e-5},
        {"wte.weight": W, "wpe.weight": (V, D), "h.0.attn.c_attn.weight": (D, 3 * D),
        "ln_f.weight": G, "ln_f.bias": G},
        "wte.weight", True, "layer", "ln_f.weight", "ln_f.bias", eps=1e-5,
    ),
    Case(
        "gptj_untied_with_bias",
        {"model_type": "gptj", "vocab_size": V, "n_embd": D, "layer_norm_epsilon": 1e-5},
        {"transformer.wte.weight": W, "transformer.ln_f.weight": G, "transformer.ln_f.bias": G,
        HEAD: W, "lm_head.bias": (V,)},
        HEAD, False, "layer", LN_F, LN_F_BIAS, eps=1e-5, bias="lm_head.bias",
    ),
    Case(
        "gpt_neox",
        config("gpt_neox", tie_word_embeddings=False, layer_norm_eps=1e-5),
        {"gpt_neox.embed_in.weight": W, "embed_out.weight": W,
        "gpt_neox.final_layer_norm.weight": G, "gpt_neox.final_layer_norm.bias": G},
        "embed_out.weight", False, "layer", "gpt_neox.final_layer_norm.weight",
        "gpt_neox.final_layer_norm.bias", eps=1e-5,
    ),
    Case(
        "bloom_without_prefix",
        config("bloom", layer_norm_epsilon=1e-5),
        {"word_embeddings.weight": W, "word_embeddings_layernorm.weight": G, "ln_f.weight": G,
        "ln_f.bias": G},
        "word_embeddings.weight", True, "layer", "ln_f.weight", "ln_f.bias", eps=1e-5,
    ),
    Case(
        "falcon_untied",
        config("falcon", tie_word_embeddings=False, layer_norm_epsilon=1e-5),
        {"transformer.word_embeddings.weight": W, HEAD: W, "transformer.ln_f.weight": G,
        "transformer.ln_f.bias": G},
        HEAD, False, "layer", LN_F, LN_F_BIAS, eps=1e-5,
    ),
    Case(
        "mpt_norm_without_bias",
        {"model_type": "mpt", "vocab_size": V, "d_model": D, "logit_scale": None},
        {"transformer.wte.weight": W, "transformer.norm_f.weight": G},
        "transformer.wte.weight", True, "layer", "transformer.norm_f.weight", eps=1e-5,
    ),
    Case(
        "opt",
        config("opt", word_embed_proj_dim=D),
        {"model.decoder.embed_tokens.weight": W, "model.decoder.final_layer_norm.weight": G,
        "model.decoder.final_layer_norm.bias": G},
        "model.decoder.embed_tokens.weight", True, "layer",
        "model.decoder.final_layer_norm.weight", "model.decoder.final_layer_norm.bias", eps=1e-5,
    ),
    Case(
        "biogpt_whose_last_norm_takes_no_epsilon_of_the_config",
        config("biogpt", layer_norm_eps=1e-12),
        {"biogpt.embed_tokens.weight": W, "biogpt.layer_norm.weight": G,
        "biogpt.layer_norm.bias": G},
        "biogpt.embed_tokens.weight", True, "layer", "biogpt.layer_norm.weight",
        "biogpt.layer_norm.bias", eps=1e-5,
    ),
    Case(
        "opt_with_a_projection_after_the_norm",
        config("opt", hidden_size=2 * D, word_embed_proj_dim=D),
        {"model.decoder.embed_tokens.weight": W, "model.decoder.project_out.weight": (D, 2 * D),
        "model.decoder.final_layer_norm.weight": (2 * D,)},
        "model.decoder.embed_tokens.weight", True, "unknown",
    ),
    Case(
        "rwkv_by_its_authors_names",
        config("rwkv", tie_word_embeddings=False),
        {"emb.weight": W, "head.weight": W, "ln_out.weight": G, "ln_out.bias": G,
        "blocks.0.ln1.weight": G, "blocks.0.att.output.weight": (V, D)},
        "head.weight", False, "layer", "ln_out.weight", "ln_out.bias", eps=1e-5,
    ),
    Case(
        "rwkv_by_transformers_names",
        config("rwkv", layer_norm_epsilon=1e-5),
        {"rwkv.embeddings.weight": W, "head.weight": W, "rwkv.ln_out.weight": G,
        "rwkv.ln_out.bias": G},
        "head.weight", False, "layer", "rwkv.ln_out.weight", "rwkv.ln_out.bias", eps=1e-5,
    ),
    Case(
        "mamba",
        config("mamba", layer_norm_epsilon=1e-5),
        {"backbone.embeddings.weight": W, "backbone.norm_f.weight": G,
        "backbone.layers.0.norm.weight": G},
        "backbone.embeddings.weight", True, "rms", "backbone.norm_f.weight", eps=1e-5,
    ),
    Case(
        "mamba2_whose_config_holds_infinity",
        config("mamba2", time_step_limit=[0.0, float("inf")], layer_norm_epsilon=1e-5),
        {"backbone.embeddings.weight": W, "backbone.norm_f.weight": G, HEAD: W},
        HEAD, False, "rms", "backbone.norm_f.weight", eps=1e-5,
    ),
    Case(
        "xlstm",
        config("xlstm", norm_eps=1e-6, output_logit_soft_cap=30.0),
        {"backbone.embeddings.weight": W, "backbone.out_norm.weight": G, HEAD: W},
        HEAD, False, "rms", "backbone.out_norm.weight", eps=1e-6, softcap=30.0,
    ),
    Case(
        "chatglm",
        {"model_type": "chatglm", "padded_vocab_size": V, "hidden_size": D,
        "layernorm_epsilon": 1e-5, "tie_word_embeddings": False},
        {"transformer.embedding.word_embeddings.weight": W,
        "transformer.encoder.final_layernorm.weight": G, "transformer.output_layer.weight": W},
        "transformer.output_layer.weight", False, "rms",
        "transformer.encoder.final_layernorm.weight", eps=1e-5,
    ),
    Case(
        "bert_with_bias_and_transform",
        config("bert", layer_norm_eps=1e-12),
        {"bert.embeddings.word_embeddings.weight": W,
        "bert.embeddings.position_embeddings.weight": (V, D),
        "bert.embeddings.LayerNorm.weight": G, "cls.predictions.transform.dense.weight": (D, D),
        "cls.predictions.transform.LayerNorm.weight": G,
        "cls.predictions.transform.LayerNorm.bias": G, "cls.predictions.bias": (V,)},
        "bert.embeddings.word_embeddings.weight", True, "layer",
        "cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias",
        eps=1e-12, bias="cls.predictions.bias",
    ),
    Case(
        "bert_by_its_first_names",
        config("bert"),
        {"bert.embeddings.word_embeddings.weight": W, "bert.embeddings.LayerNorm.gamma": G,
        "cls.predictions.transform.LayerNorm.gamma": G,
        "cls.predictions.transform.LayerNorm.beta": G, "cls.predictions.bias": (V,)},
        "bert.embeddings.word_embeddings.weight", True, "layer",
        "cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.beta",
        eps=1e-12, bias="cls.predictions.bias",
    ),
    Case(
        "roberta",
        config("roberta", layer_norm_eps=1e-5),
        {"roberta.embeddings.word_embeddings.weight": W, "lm_head.layer_norm.weight": G,
        "lm_head.layer_norm.bias": G, "lm_head.bias": (V,)},
        "roberta.embeddings.word_embeddings.weight", True, "layer", "lm_head.layer_norm.weight",
        "lm_head.layer_norm.bias", eps=1e-5, bias="lm_head.bias",
    ),
    Case(
        "albert_whose_embedding_is_narrow",
        config("albert", hidden_size=4 * D, embedding_size=D),
        {"albert.embeddings.word_embeddings.weight": W, "predictions.LayerNorm.weight": G,
        "predictions.LayerNorm.bias": G, "predictions.bias": (V,)},
        "albert.embeddings.word_embeddings.weight", True, "layer", "predictions.LayerNorm.weight",
        "predictions.LayerNorm.bias", eps=1e-12, bias="predictions.bias",
    ),
    Case(
        "modernbert",
        config("modernbert", norm_eps=1e-5),
        {"model.embeddings.tok_embeddings.weight": W, "model.final_norm.weight": G,
        "head.dense.weight": (D, D), "head.norm.weight": G, "decoder.bias": (V,)},
        "model.embeddings.tok_embeddings.weight", True, "layer", "head.norm.weight", eps=1e-5,
        bias="decoder.bias",
    ),
    Case(
        "t5_tied_scales_the_state",
        {"model_type": "t5", "vocab_size": V, "d_model": D, "layer_norm_epsilon": 1e-6},
        {"shared.weight": W, "decoder.embed_tokens.weight": W,
        "encoder.final_layer_norm.weight": G, "decoder.final_layer_norm.weight": G},
        "shared.weight", True, "rms", "decoder.final_layer_norm.weight", eps=1e-6, scale=(0.5,
        None, "state"),
    ),
    Case(
        "flan_t5_untied_does_not_scale",
        {"model_type": "t5", "vocab_size": V, "d_model": D, "tie_word_embeddings": False},
        {"shared.weight": W, HEAD: W, "decoder.final_layer_norm.weight": G},
        HEAD, False, "rms", "decoder.final_layer_norm.weight", eps=1e-6,
    ),
    Case(
        "flan_t5_saved_by_transformers_5_says_tied_and_is_not",
        {"model_type": "t5", "vocab_size": V, "d_model": D, "tie_word_embeddings": True,
        "scale_decoder_outputs": False},
        {"shared.weight": W, HEAD: W, "decoder.final_layer_norm.weight": G},
        HEAD, False, "rms", "decoder.final_layer_norm.weight", eps=1e-6,
        warnings=("differ: 11 of 11 rows; lm_head.weight is used",),
    ),
    Case(
        "mbart_with_a_bias_of_one_row",
        {"model_type": "mbart", "vocab_size": V, "d_model": D},
        {"model.shared.weight": W, "final_logits_bias": (1, V),
        "model.decoder.layer_norm.weight": G, "model.decoder.layer_norm.bias": G},
        "model.shared.weight", True, "layer", "model.decoder.layer_norm.weight",
        "model.decoder.layer_norm.bias", eps=1e-5, bias="final_logits_bias",
    ),
    Case(
        "bart_has_no_norm_before_its_head",
        {"model_type": "bart", "vocab_size": V, "d_model": D},
        {"model.shared.weight": W, "model.decoder.layers.0.final_layer_norm.weight": G},
        "model.shared.weight", True, "unknown",
    ),
    Case(
        "whisper",
        {"model_type": "whisper", "vocab_size": V, "d_model": D},
        {"model.decoder.embed_tokens.weight": W, "model.encoder.layer_norm.weight": G,
        "model.decoder.layer_norm.weight": G, "model.decoder.layer_norm.bias": G},
        "model.decoder.embed_tokens.weight", True, "layer", "model.decoder.layer_norm.weight",
        "model.decoder.layer_norm.bias", eps=1e-5,
    ),
    Case(
        "baichuan_has_a_caveat",
        config("baichuan", rms_norm_eps=1e-6),
        llama(),
        HEAD, False, "rms", NORM, eps=1e-6,
        warnings=("Baichuan 2 divides each row of W by its norm",),
    ),
    Case(
        "an_unknown_family_is_named_by_its_tensors_alone",
        config("something-new", tie_word_embeddings=False, logit_scale=2.0),
        llama(),
        HEAD, False, "unknown",
        warnings=("config.json has logit_scale, and what model_type something-new does with it",),
    ),
]
# fmt: on
