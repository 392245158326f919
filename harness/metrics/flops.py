"""Floating-point operations of a Transformer, after PaLM (Chowdhery et al. 2022), appendix B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Shape(Protocol):
    """What the FLOP count of a network depends on."""

    def forward_flops(self, rows: int, lengths: tuple[int, ...]) -> int:
        """FLOPs of a forward pass.

        Args:
            rows: Sequences.
            lengths: Padded length in tokens of each of the network's inputs.
        """
        ...


# The backward pass has the products of the forward pass twice: for the inputs, and for the weights.
TRAINING_PASSES = 3


@dataclass(frozen=True)
class TransformerShape:
    """A stack of blocks over one sequence.

    Attributes:
        layers: L, number of blocks.
        heads: H, attention heads.
        head_dim: Q, width of a head.
        matmul_parameters: N, parameters that take part in matrix products: without position embeddings, and without
            the token embedding unless it is also the output layer.
        output_parameters: Of these, the output layer's.
    """

    layers: int
    heads: int
    head_dim: int
    matmul_parameters: int
    output_parameters: int = 0

    def forward_flops(self, rows: int, lengths: tuple[int, ...]) -> int:
        """Of `rows` sequences of `lengths[0]` tokens."""
        return rows * lengths[0] * forward_flops_per_token(self, lengths[0])

    def prefill_flops(self, rows: int, length: int) -> int:
        """Of `rows` prompts of `length` tokens, each with the output layer at its last token alone."""
        return self.forward_flops(rows, (length,)) - 2 * rows * (length - 1) * self.output_parameters

    def step_flops(self, rows: int, past: int, steps: int) -> int:
        """Of `steps` further tokens of `rows` sequences, after `past` tokens each."""
        lengths = range(past + 1, past + 1 + steps)
        return rows * sum(forward_flops_per_token(self, length) for length in lengths)


def training_flops_per_token(shape: TransformerShape, context: int) -> int:
    """6N + 12 L H Q T: forward and backward of one token in a sequence of T tokens."""
    return TRAINING_PASSES * forward_flops_per_token(shape, context)


def forward_flops_per_token(shape: TransformerShape, context: int) -> int:
    """2N + 4 L H Q T: forward of one token in a sequence of T tokens."""
    return 2 * shape.matmul_parameters + 4 * shape.layers * shape.heads * shape.head_dim * context


@dataclass(frozen=True)
class EncoderDecoderShape:
    """Two stacks of blocks: the same count, each product with the tokens that it is over.

    Attributes:
        encoder_layers, decoder_layers: Blocks of each stack.
        heads, head_dim: H and Q, of every attention.
        source_parameters: Parameters that multiply source tokens: the encoder, and the decoder's keys and values of it.
        target_parameters: Parameters that multiply target tokens: the rest of the decoder, and the output layer.
    """

    encoder_layers: int
    decoder_layers: int
    heads: int
    head_dim: int
    source_parameters: int
    target_parameters: int

    def forward_flops(self, rows: int, lengths: tuple[int, ...]) -> int:
        """Of `rows` pairs of `lengths[0]` source and `lengths[1]` target tokens."""
        source, target = lengths[:2]
        products = 2 * (self.source_parameters * source + self.target_parameters * target)
        pairs = self.encoder_layers * source * source + self.decoder_layers * (target * target + source * target)
        return rows * (products + 4 * self.heads * self.head_dim * pairs)
