"""The encoder-decoder Transformer of Vaswani et al. (2017), written to be read.

Shapes are suffixes: B sequences, S source and T target positions, C width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config.model import TranslatorConfig
from harness.data.corpus import TextSource
from harness.data.parallel import parallel_corpus
from harness.load import implementation
from harness.metrics.flops import EncoderDecoderShape
from harness.models.decoding import translate
from harness.models.loaded import LoadedModel, count_parameters
from harness.models.seq2seq import EncoderDecoder, Marks

KeysValues = tuple[Tensor, Tensor]  # each (B, H, S or T, D)


class Attention(nn.Module):
    """Multi-head attention: softmax(Q K^T / sqrt(D)) V, through PyTorch's fused kernel."""

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.query = nn.Linear(config.n_embd, config.n_embd)
        self.key = nn.Linear(config.n_embd, config.n_embd)
        self.value = nn.Linear(config.n_embd, config.n_embd)
        self.out = nn.Linear(config.n_embd, config.n_embd)

    def keys_values(self, x_BSC: Tensor) -> KeysValues:
        """Keys and values of what is attended to."""
        return self._heads(self.key(x_BSC)), self._heads(self.value(x_BSC))

    def forward(self, x_BTC: Tensor, attended: KeysValues, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, C) to (B, T, C); `mask` (B, 1, 1, S) is true where something may be attended to."""
        B, T, _ = x_BTC.shape
        k_BHSD, v_BHSD = attended
        y_BHTD = F.scaled_dot_product_attention(
            self._heads(self.query(x_BTC)), k_BHSD, v_BHSD, attn_mask=mask, is_causal=causal
        )
        y_BTC: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(B, T, -1))
        return y_BTC

    def _heads(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        return x_BTC.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two-layer perceptron with ReLU."""

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__(nn.Linear(config.n_embd, config.n_inner), nn.ReLU(), nn.Linear(config.n_inner, config.n_embd))


class EncoderBlock(nn.Module):
    """Post-norm block: self-attention and perceptron, each with dropout, added, and then normalised."""

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.norm_1 = nn.LayerNorm(config.n_embd)
        self.feed_forward = FeedForward(config)
        self.norm_2 = nn.LayerNorm(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSC: Tensor, mask: Tensor) -> Tensor:
        """(B, S, C) to (B, S, C)."""
        attended = self.attention(x_BSC, self.attention.keys_values(x_BSC), mask)
        x_BSC = self.norm_1(x_BSC + self.dropout(attended))
        x_BSC = self.norm_2(x_BSC + self.dropout(self.feed_forward(x_BSC)))
        return x_BSC


class DecoderBlock(nn.Module):
    """As the encoder's, with attention to the source between the two."""

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.norm_1 = nn.LayerNorm(config.n_embd)
        self.cross_attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.n_embd)
        self.feed_forward = FeedForward(config)
        self.norm_3 = nn.LayerNorm(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTC: Tensor, own: KeysValues, source: KeysValues, mask: Tensor, causal: bool) -> Tensor:
        """(B, T, C) to (B, T, C).

        Args:
            x_BTC: Target positions.
            own: Keys and values of the target up to and with these positions.
            source: Keys and values of the encoded source.
            mask: Which source positions are no padding (B, 1, 1, S).
            causal: Whether position t sees `own` up to t only; for a single last position, it sees all.
        """
        x_BTC = self.norm_1(x_BTC + self.dropout(self.attention(x_BTC, own, causal=causal)))
        x_BTC = self.norm_2(x_BTC + self.dropout(self.cross_attention(x_BTC, source, mask)))
        x_BTC = self.norm_3(x_BTC + self.dropout(self.feed_forward(x_BTC)))
        return x_BTC


@dataclass
class DecoderState:
    """What decoding keeps from one target token to the next.

    Attributes:
        mask: Which source positions are no padding (B, 1, 1, S).
        source: Keys and values of the source, a pair a block.
        own: Keys and values of the target so far, a pair a block; empty at the start.
        length: Target tokens so far.
    """

    mask: Tensor
    source: list[KeysValues]
    own: list[KeysValues]
    length: int = 0

    def reorder(self, rows: Tensor) -> None:
        """Keep these rows (B',), in this order."""
        self.mask = self.mask[rows]
        self.source = [(keys[rows], values[rows]) for keys, values in self.source]
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]


class Translator(EncoderDecoder):
    """Encoder and decoder over one shared embedding, which is also the output layer; sinusoidal positions.

    Args:
        config: Sizes.
        vocab_size: Token ids, the padding's included.
        marks: Token ids around sentences.
    """

    positions: Tensor

    def __init__(self, config: TranslatorConfig, vocab_size: int, marks: Marks) -> None:
        super().__init__(marks, config.decoding)
        self.config = config
        self.tokens = nn.Embedding(vocab_size, config.n_embd)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layer))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layer))
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("positions", sinusoids(config.context_length, config.n_embd), persistent=False)
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Source ids (B, S) and target ids (B, T), each after the start token, to logits (B, T, V)."""
        state = self.start(source_BS)
        x_BTC = self._embed(target_BT, 0)
        for block, source in zip(self.decoder_blocks(), state.source, strict=True):
            x_BTC = block(x_BTC, block.attention.keys_values(x_BTC), source, state.mask, causal=True)
        return F.linear(x_BTC, self.tokens.weight)

    def start(self, source_BS: Tensor) -> DecoderState:
        """Encode the source (B, S)."""
        mask = (source_BS != self.marks.padding)[:, None, None, :]
        x_BSC = self._embed(source_BS, 0)
        for block in self.encoder:
            x_BSC = block(x_BSC, mask)
        return DecoderState(mask, [block.cross_attention.keys_values(x_BSC) for block in self.decoder_blocks()], [])

    def step(self, tokens_B: Tensor, state: DecoderState) -> Tensor:
        """Logits (B, V) of the token after `tokens_B`; the state grows by one position."""
        x_BTC = self._embed(tokens_B[:, None], state.length)
        grown = []
        for number, block in enumerate(self.decoder_blocks()):
            keys, values = block.attention.keys_values(x_BTC)
            if state.own:
                keys = torch.cat([state.own[number][0], keys], dim=2)
                values = torch.cat([state.own[number][1], values], dim=2)
            grown.append((keys, values))
            x_BTC = block(x_BTC, (keys, values), state.source[number], state.mask, causal=False)
        state.own, state.length = grown, state.length + 1
        return F.linear(x_BTC[:, 0], self.tokens.weight)

    def translate(self, source_BS: Tensor) -> list[list[int]]:
        """Target tokens of each source, without start and end."""
        longest = min(self.config.context_length, source_BS.shape[1] + self.decoding.extra_tokens)
        return translate(self, source_BS, self.marks.end, self.decoding, longest)

    def decoder_blocks(self) -> list[DecoderBlock]:
        """The decoder, from the first block on."""
        return [block for block in self.decoder if isinstance(block, DecoderBlock)]

    def _embed(self, ids_BT: Tensor, start: int) -> Tensor:
        scaled = self.tokens(ids_BT) * math.sqrt(self.config.n_embd)
        embedded: Tensor = self.dropout(scaled + self.positions[start : start + ids_BT.shape[1]])
        return embedded


def sinusoids(length: int, width: int) -> Tensor:
    """Positions (length, width): sines and cosines of geometrically growing wavelengths (section 3.5)."""
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def build(config: TranslatorConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A randomly initialised translator; the token after the tokenizer's last is the padding.

    Raises:
        UserError: If the data holds no pairs.
    """
    corpus = parallel_corpus(source)
    tokenizer = implementation(config.tokenizer)(config.tokenizer, corpus, cache_dir)
    separator, padding = tokenizer.separator_id, tokenizer.vocab_size
    marks = Marks(padding=padding, end=separator, source_start=(), target_start=(separator,))
    network = Translator(config, padding + 1, marks).to(dtype)
    parameters = count_parameters(network)
    embedding = network.tokens.weight.numel()
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        context_length=config.context_length,
        shape=shape_of(network),
        num_parameters=parameters,
        num_parameters_non_embedding=parameters - embedding,
        provenance={"source": "random initialisation", "license": "Apache-2.0", "tokenizer": tokenizer.name},
        objective="harness.objectives.translation:TranslationObjective",
    )


def shape_of(network: Translator) -> EncoderDecoderShape:
    """For FLOP counts: which parameters multiply source tokens, and which target tokens."""
    config, blocks = network.config, network.decoder_blocks()
    of_source: list[nn.Module] = [network.encoder]
    of_source += [part for block in blocks for part in (block.cross_attention.key, block.cross_attention.value)]
    source = sum(count_parameters(part) for part in of_source)
    return EncoderDecoderShape(
        encoder_layers=config.n_layer,
        decoder_layers=config.n_layer,
        heads=config.n_head,
        head_dim=config.n_embd // config.n_head,
        source_parameters=source,
        target_parameters=count_parameters(network) - source,
    )
