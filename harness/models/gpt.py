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
from harness.data.corpus import TextSource
from harness.load import implementation
from harness.metrics.flops import TransformerShape
from harness.models.generation import Generator
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

    def forward(self, x_BTC: Tensor, number: int = 0, cache: GPTCache | None = None) -> Tensor:
        """(B, T, C) to (B, T, C); `number` is the layer's in the cache, which is attended to as well."""
        B, T, _ = x_BTC.shape
        q_BHTD, k_BHTD, v_BHTD = self.qkv(x_BTC).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        mask = None
        if cache is not None:
            k_BHTD, v_BHTD, mask = cache.extended(number, k_BHTD, v_BHTD)
        dropout = self.dropout if self.training else 0.0
        y_BHTD = F.scaled_dot_product_attention(
            q_BHTD, k_BHTD, v_BHTD, attn_mask=mask, dropout_p=dropout, is_causal=mask is None
        )
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

    def forward(self, x_BTC: Tensor, number: int = 0, cache: GPTCache | None = None) -> Tensor:
        """(B, T, C) to (B, T, C), as the attention."""
        x_BTC = x_BTC + self.attention(self.norm_1(x_BTC), number, cache)
        hidden = F.gelu(self.up(self.norm_2(x_BTC)), approximate="tanh")
        return x_BTC + F.dropout(self.down(hidden), self.dropout, self.training)


class GPTCache:
    """Keys and values of all layers, in tensors of their final size.

    Args:
        config: Of the model.
        prompts: Sequences.
        prompt: Tokens of the prompts, padding included.
        padding_B: How many tokens fill up each row on the left; None where none does.
        capacity: Tokens of a sequence at most.
        like: Gives dtype and device.
    """

    def __init__(
        self, config: GPTConfig, prompts: int, prompt: int, padding_B: Tensor | None, capacity: int, like: Tensor
    ) -> None:
        shape = (config.n_layer, 2, prompts, config.n_head, capacity, config.head_width)
        self.kept = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.length = torch.zeros((), dtype=torch.long, device=like.device)
        self._prompt = prompt
        padding = torch.zeros(prompts, dtype=torch.long) if padding_B is None else padding_B
        self._padding_B1 = padding.to(like.device)[:, None]
        self._places = torch.arange(capacity, device=like.device)
        self._unread = padding_B is None

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.kept.nbytes

    @property
    def position_bytes(self) -> int:
        """Bytes of one position of one sequence."""
        _, _, prompts, _, capacity, _ = self.kept.shape
        return self.kept.nbytes // (prompts * capacity)

    def rewind(self) -> None:
        """Forget everything behind the prompts."""
        self.length.fill_(self._prompt)

    def positions(self, tokens: int) -> Tensor:
        """Positions (B, T) of the next tokens; padding is at the first."""
        return (self._next(tokens) - self._padding_B1).clamp(min=0)

    def extended(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """All keys and values of a layer, those of the next tokens included, and what each of these may see.

        Prompts without padding see themselves alone, and no mask is needed.
        """
        tokens = self._next(k_BHTD.shape[2])
        for kept, new in zip(self.kept[layer], (k_BHTD, v_BHTD), strict=True):
            kept.index_copy_(2, tokens, new.to(kept.dtype))
        if self._unread:
            return k_BHTD, v_BHTD, None
        past = self._places[None, :] <= tokens[:, None]
        # A row of padding sees itself: a row that saw nothing would be no number.
        real = (self._places >= self._padding_B1)[:, None, :] | (self._places[None, :] == tokens[:, None])
        keys, values = self.kept[layer].to(k_BHTD.dtype)
        return keys, values, (past & real)[:, None]

    def advance(self, tokens: int) -> None:
        """The next tokens are in."""
        self.length += tokens
        self._unread = False

    def _next(self, tokens: int) -> Tensor:
        return self.length + torch.arange(tokens, device=self.length.device)


class GPT(Generator):
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
        x_BTC = self._hidden(ids_BT, torch.arange(ids_BT.shape[1], device=ids_BT.device))
        return F.linear(x_BTC, self.tokens.weight)

    def streamed_weights(self) -> list[Tensor]:
        """As the base class says: all but the positions."""
        return [weight for weight in self.parameters() if weight is not self.positions.weight]

    def prefill(self, ids_BT: Tensor, padding_B: Tensor | None, capacity: int, fixed: bool) -> tuple[Tensor, GPTCache]:
        """As the base class says; the cache has its whole size in any case."""
        B, T = ids_BT.shape
        cache = GPTCache(self.config, B, T, padding_B, capacity, self.norm.weight)
        return self._next(ids_BT, cache), cache

    def step(self, tokens_B: Tensor, cache: GPTCache) -> Tensor:
        """As the base class says."""
        return self._next(tokens_B[:, None], cache)

    def _next(self, ids_BT: Tensor, cache: GPTCache) -> Tensor:
        x_BTC = self._hidden(ids_BT, cache.positions(ids_BT.shape[1]), cache)
        cache.advance(ids_BT.shape[1])
        return F.linear(x_BTC[:, -1], self.tokens.weight)

    def _hidden(self, ids_BT: Tensor, positions: Tensor, cache: GPTCache | None = None) -> Tensor:
        x_BTC = self.tokens(ids_BT) + self.positions(positions)
        x_BTC = F.dropout(x_BTC, self.config.dropout, self.training)
        for number, block in enumerate(self.blocks):
            x_BTC = block(x_BTC, number, cache)
        normed: Tensor = self.norm(x_BTC)
        return normed


def build(config: GPTConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A randomly initialised GPT with the tokenizer that its option names."""
    tokenizer = implementation(config.tokenizer)(config.tokenizer, source, cache_dir)
    network = GPT(config, tokenizer.vocab_size).to(dtype)
    positions = network.positions.weight.numel()
    parameters = count_parameters(network)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        context_length=config.context_length,
        shape=TransformerShape(
            config.n_layer, config.n_head, config.head_width, parameters - positions, network.tokens.weight.numel()
        ),
        num_parameters=parameters,
        num_parameters_non_embedding=parameters - positions - network.tokens.weight.numel(),
        provenance={"source": "random initialisation", "license": "Apache-2.0", "tokenizer": tokenizer.name},
    )
