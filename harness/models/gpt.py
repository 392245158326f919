"""A decoder-only Transformer: GPT-2's architecture (Radford et al. 2019), written to be read.

Shapes are suffixes: B sequences, T positions, C width, H heads, D head width (H * D is C, but for two rows of GPT-3's
table), V vocabulary.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config.model import GPTConfig
from harness.data.corpus import TextSource, text_corpus
from harness.load import implementation
from harness.metrics.flops import TransformerShape
from harness.models.loaded import LoadedModel, count_parameters


class SelfAttention(nn.Module):
    """Causal multi-head self-attention: softmax(Q K^T / sqrt(D)) V, through PyTorch's fused kernel."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        inner = config.n_head * config.head_width
        self.qkv = nn.Linear(config.n_embd, 3 * inner, bias=config.bias)
        self.out = nn.Linear(inner, config.n_embd, bias=config.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        B, T, _ = x_BTC.shape
        q_BHTD, k_BHTD, v_BHTD = self.qkv(x_BTC).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, dropout_p=dropout, is_causal=True)
        y_BTC = self.out(y_BHTD.transpose(1, 2).reshape(B, T, -1))
        return F.dropout(y_BTC, self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm block: attention, then a two-layer perceptron with GELU, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = SelfAttention(config)
        self.norm_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x_BTC = x_BTC + self.attention(self.norm_1(x_BTC))
        hidden = F.gelu(self.up(self.norm_2(x_BTC)), approximate="tanh")
        return x_BTC + F.dropout(self.down(hidden), self.dropout, self.training)


class GPT(nn.Module):
    """Token and learnt position embeddings, blocks, final norm, and the token embedding again as output layer."""

    def __init__(self, config: GPTConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.context_length, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.apply(self._initialise)
        self._scale_residual_projections()

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def _scale_residual_projections(self) -> None:
        """GPT-2 divides the projections into the residual stream by sqrt(2 * layers) at the start."""
        std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.out.weight", "down.weight")):
                nn.init.normal_(parameter, std=std)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        T = ids_BT.shape[1]
        x_BTC = self.tokens(ids_BT) + self.positions(torch.arange(T, device=ids_BT.device))
        x_BTC = F.dropout(x_BTC, self.config.dropout, self.training)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return F.linear(self.norm(x_BTC), self.tokens.weight)


def build(config: GPTConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A randomly initialised GPT with the tokenizer that its option names."""
    tokenizer = implementation(config.tokenizer)(config.tokenizer, text_corpus(source), cache_dir)
    network = GPT(config, tokenizer.vocab_size).to(dtype)
    positions = network.positions.weight.numel()
    parameters = count_parameters(network)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        context_length=config.context_length,
        shape=TransformerShape(config.n_layer, config.n_head, config.head_width, parameters - positions),
        num_parameters=parameters,
        num_parameters_non_embedding=parameters - positions - network.tokens.weight.numel(),
        provenance={"source": "random initialisation", "license": "Apache-2.0", "tokenizer": tokenizer.name},
    )
