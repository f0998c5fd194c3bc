"""A native Orion for transformers 5: Llama's parts, with LayerNorm (weight and bias) where Llama has RMSNorm.

Sources: the published config.json and the names of the published weights (facts also in llama.cpp's and vLLM's
loaders). Attention and MLP have no bias; the checkpoint's keys are Llama's with a `.bias` beside each norm's weight.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
    LlamaRotaryEmbedding,
)

from alphaf_orch.programs.architectures.orion_config import OrionConfig


class OrionLayerNorm(nn.LayerNorm):  # type: ignore[misc]
    """LayerNorm that computes in float32 and answers in its input's dtype, as Llama's RMSNorm does.

    Trainers keep the norms of a quantised model in float32 beside bfloat16 states, which CUDA's layer_norm refuses.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return the normalised states, scaled and shifted."""
        normalised = nn.functional.layer_norm(
            hidden_states.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
        )
        return normalised.to(hidden_states.dtype)


class OrionDecoderLayer(LlamaDecoderLayer):  # type: ignore[misc]
    """Llama's layer with LayerNorm before attention and before the MLP."""

    def __init__(self, config: OrionConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.input_layernorm = OrionLayerNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = OrionLayerNorm(config.hidden_size, eps=config.rms_norm_eps)


class OrionPreTrainedModel(LlamaPreTrainedModel):  # type: ignore[misc]
    """What loading, splitting over devices and recording need to know of Orion."""

    config_class = OrionConfig
    _no_split_modules = ["OrionDecoderLayer"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": OrionDecoderLayer, "attentions": LlamaAttention}  # noqa: RUF012
    # Tables that some trainers of that time wrote into the checkpoint; they are computed.
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$"]  # noqa: RUF012


class OrionModel(OrionPreTrainedModel, LlamaModel):  # type: ignore[misc]
    """Orion without its head; the forward pass is Llama's."""

    def __init__(self, config: OrionConfig) -> None:
        super(LlamaModel, self).__init__(config)  # Llama's own would build its layers first
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(OrionDecoderLayer(config, number) for number in range(config.num_hidden_layers))
        self.norm = OrionLayerNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()


class OrionForCausalLM(OrionPreTrainedModel, LlamaForCausalLM):  # type: ignore[misc]
    """Orion with its language-model head; forward, loss and generation are Llama's."""

    def __init__(self, config: OrionConfig) -> None:
        super(LlamaForCausalLM, self).__init__(config)
        self.model = OrionModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
