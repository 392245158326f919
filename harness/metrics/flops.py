"""Floating-point operations of a Transformer, after PaLM (Chowdhery et al. 2022), appendix B."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerShape:
    """What the FLOP count of a decoder depends on.

    Attributes:
        layers: L, number of blocks.
        heads: H, attention heads.
        head_dim: Q, width of a head.
        matmul_parameters: N, parameters that take part in matrix products: without position embeddings, and without
            the token embedding unless it is also the output layer.
    """

    layers: int
    heads: int
    head_dim: int
    matmul_parameters: int


def training_flops_per_token(shape: TransformerShape, context: int) -> int:
    """6N + 12 L H Q T: forward and backward of one token in a sequence of T tokens."""
    return 6 * shape.matmul_parameters + 12 * shape.layers * shape.heads * shape.head_dim * context


def forward_flops_per_token(shape: TransformerShape, context: int) -> int:
    """2N + 4 L H Q T: forward of one token in a sequence of T tokens."""
    return 2 * shape.matmul_parameters + 4 * shape.layers * shape.heads * shape.head_dim * context
