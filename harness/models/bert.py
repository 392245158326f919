"""An encoder for masked language modelling: BERT's architecture (Devlin et al. 2019), written to be read.

Shapes are suffixes: B sequences, T positions, C width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config.model import BertConfig
from harness.data.corpus import TextSource, text_corpus
from harness.load import implementation
from harness.metrics.flops import TransformerShape
from harness.models.loaded import LoadedModel, count_parameters

EPSILON = 1e-12  # of the layer norms, as published


class BertAttention(nn.Module):
    """Multi-head self-attention over all positions: softmax(Q K^T / sqrt(D)) V, through PyTorch's fused kernel."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.out = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        B, T, _ = x_BTC.shape
        q_BHTD, k_BHTD, v_BHTD = self.qkv(x_BTC).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, dropout_p=dropout)
        y_BTC = self.out(y_BHTD.transpose(1, 2).reshape(B, T, -1))
        return F.dropout(y_BTC, self.dropout, self.training)


class BertBlock(nn.Module):
    """Post-norm block: attention, then a two-layer perceptron with GELU, each added and then normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.norm_1 = nn.LayerNorm(config.n_embd, eps=EPSILON)
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd)
        self.norm_2 = nn.LayerNorm(config.n_embd, eps=EPSILON)
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x_BTC = self.norm_1(x_BTC + self.attention(x_BTC))
        hidden_BTC = F.dropout(self.down(F.gelu(self.up(x_BTC))), self.dropout, self.training)
        x_BTC = self.norm_2(x_BTC + hidden_BTC)
        return x_BTC


class Bert(nn.Module):
    """Token, position and segment embeddings, blocks, and the masked-token head over the token embedding.

    There is one segment here: its embedding is kept so that the sizes are the published ones.
    """

    def __init__(self, config: BertConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.context_length, config.n_embd)
        self.segments = nn.Embedding(2, config.n_embd)
        self.norm = nn.LayerNorm(config.n_embd, eps=EPSILON)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.n_layer))
        self.head = nn.Linear(config.n_embd, config.n_embd)
        self.head_norm = nn.LayerNorm(config.n_embd, eps=EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        T = ids_BT.shape[1]
        positions = self.positions(torch.arange(T, device=ids_BT.device)) + self.segments.weight[0]
        x_BTC = F.dropout(self.norm(self.tokens(ids_BT) + positions), self.config.dropout, self.training)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        x_BTC = self.head_norm(F.gelu(self.head(x_BTC)))
        logits_BTV: Tensor = F.linear(x_BTC, self.tokens.weight, self.bias)
        return logits_BTV


def build(config: BertConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A randomly initialised BERT; the token after the tokenizer's last is the mask."""
    corpus = text_corpus(source)
    tokenizer = implementation(config.tokenizer)(config.tokenizer, corpus, cache_dir)
    network = Bert(config, tokenizer.vocab_size + 1).to(dtype)
    unused = network.positions.weight.numel() + network.segments.weight.numel()
    parameters = count_parameters(network)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        context_length=config.context_length,
        shape=TransformerShape(config.n_layer, config.n_head, config.n_embd // config.n_head, parameters - unused),
        num_parameters=parameters,
        num_parameters_non_embedding=parameters - unused - network.tokens.weight.numel(),
        provenance={"source": "random initialisation", "license": "Apache-2.0", "tokenizer": tokenizer.name},
        objective="harness.objectives.masked:MaskedObjective",
        mask_id=tokenizer.vocab_size,
    )
