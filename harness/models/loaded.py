"""What a run needs to know of a model, wherever it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from harness.data.tokenizers import TextTokenizer
from harness.metrics.flops import Shape


@dataclass(frozen=True)
class LoadedModel:
    """A language model and its tokenizer.

    Attributes:
        network: Maps token ids (B, T), or source and target ids, to logits (B, T, V).
        tokenizer: Its tokenizer.
        context_length: Longest input in tokens.
        shape: Depth, heads and parameters, for FLOP counts.
        num_parameters: All parameters; shared ones once.
        num_parameters_non_embedding: Without token and position embeddings.
        provenance: Source, revision, file hash, licence and what else the record must say.
        objective: What it learns and is scored by; see `harness/objectives/`.
        mask_id: Token id that stands for a masked token, where it has one.
        trained: Whether its weights stand for something; if not, it has no quality.
        target_tokenizer: Tokenizer of the targets, where it is another.
    """

    network: nn.Module
    tokenizer: TextTokenizer
    context_length: int
    shape: Shape
    num_parameters: int
    num_parameters_non_embedding: int
    provenance: Mapping[str, str]
    objective: str = "harness.objectives.causal:CausalObjective"
    mask_id: int | None = None
    trained: bool = True
    target_tokenizer: TextTokenizer | None = None

    def tokenizer_of(self, side: int) -> TextTokenizer:
        """Of the sources (0) or the targets (1) of pairs."""
        return self.target_tokenizer or self.tokenizer if side else self.tokenizer


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module; a tensor that stands in two places counts once."""
    return sum(parameter.numel() for parameter in module.parameters())
