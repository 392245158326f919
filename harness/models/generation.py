"""Networks that generate: one pass over the prompts fills a cache, then each step adds a token.

Shapes are suffixes: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache, StaticCache

from harness.config.sampling import SamplingConfig
from harness.models.compress import bytes_of, stored_bytes

# Shapes of a decoding step that are compiled for one model at most.
SHAPES = 64


class Cache(Protocol):
    """Keys and values of a batch of sequences."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        ...

    @property
    def position_bytes(self) -> int:
        """Bytes of one position of one sequence."""
        ...

    def rewind(self) -> None:
        """Forget everything behind the prompts."""
        ...


class Generator(nn.Module):
    """A network whose forward pass maps token ids (B, T) to logits (B, T, V), and which can go on from a cache."""

    def prefill(self, ids_BT: Tensor, padding_B: Tensor | None, capacity: int, fixed: bool) -> tuple[Tensor, Cache]:
        """Read the prompts.

        Args:
            ids_BT: Prompts, filled up on the left.
            padding_B: How many tokens of each row fill it up; None where none does.
            capacity: Tokens of a sequence at most, prompt and output.
            fixed: Whether the cache is to have its whole size from the start, as compiled steps need it.

        Returns:
            Logits (B, V) of the token after each prompt, and the cache.
        """
        raise NotImplementedError

    def step(self, tokens_B: Tensor, cache: Any) -> Tensor:
        """Logits (B, V) of the token after these; the cache grows by one position."""
        raise NotImplementedError

    compiled = False
    """Whether `step` is compiled, and so needs a cache of fixed size."""

    def streamed_weights(self) -> list[Tensor]:
        """Weights that every pass reads whole; tables of which rows are looked up are none of them."""
        return list(self.parameters())

    def streamed_bytes(self) -> int:
        """Bytes of the weights that every pass reads whole."""
        return sum(map(bytes_of, self.streamed_weights()))

    def weight_bytes(self) -> int:
        """Bytes of all weights, as they are stored."""
        return stored_bytes(self)

    def compile_step(self) -> None:
        """Let torch.compile replace `step`; shapes beyond dynamo's limit are an error, and not silently eager."""
        torch._dynamo.config.recompile_limit = SHAPES
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        self.step = torch.compile(self.step, dynamic=False)  # type: ignore[method-assign]
        self.compiled = True


class HuggingFaceGenerator(Generator):
    """A causal language model of Hugging Face's.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V), without a cache."""
        logits: Tensor = self.model(input_ids=ids_BT, use_cache=False).logits
        return logits

    def streamed_weights(self) -> list[Tensor]:
        """As the base class says: an embedding counts where it is the output layer too."""
        output = self.model.get_output_embeddings()
        tables = [module.weight for module in self.modules() if isinstance(module, nn.Embedding)]
        looked_up = {id(table) for table in tables if output is None or table is not output.weight}
        return [weight for weight in self.parameters() if id(weight) not in looked_up]

    def prefill(
        self, ids_BT: Tensor, padding_B: Tensor | None, capacity: int, fixed: bool
    ) -> tuple[Tensor, HuggingFaceCache]:
        """As the base class says."""
        config = self.model.config
        kept: Any = StaticCache(config=config, max_cache_len=capacity) if fixed else DynamicCache(config=config)
        cache = HuggingFaceCache(kept, ids_BT.shape[1], _real(padding_B, capacity), fixed)
        return self._pass(ids_BT, cache), cache

    def step(self, tokens_B: Tensor, cache: HuggingFaceCache) -> Tensor:
        """As the base class says."""
        return self._pass(tokens_B[:, None], cache)

    def _pass(self, ids_BT: Tensor, cache: HuggingFaceCache) -> Tensor:
        output = self.model(
            input_ids=ids_BT,
            past_key_values=cache.kept,
            use_cache=True,
            logits_to_keep=1,
            **cache.positions(ids_BT.shape[1]),
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class HuggingFaceCache:
    """One of the library's caches, with the mask of what is no padding.

    Args:
        kept: The library's.
        prompt: Tokens of the prompts, padding included.
        real_BT: True where a position is no padding (B, capacity); None where none is.
        fixed: Whether it has its whole size from the start.
    """

    def __init__(self, kept: Any, prompt: int, real_BT: Tensor | None, fixed: bool) -> None:
        self.kept = kept
        self._prompt = prompt
        self._real_BT = real_BT
        self._fixed = fixed

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(int(layer.keys.nbytes + layer.values.nbytes) for layer in self.kept.layers)

    @property
    def position_bytes(self) -> int:
        """Bytes of one position of one sequence."""
        return sum(
            int(tensor.nbytes // (tensor.shape[0] * tensor.shape[2]))
            for layer in self.kept.layers
            for tensor in (layer.keys, layer.values)
        )

    def positions(self, tokens: int) -> dict[str, Tensor]:
        """Mask and positions of the next tokens, where there is padding."""
        if self._real_BT is None:
            return {}
        past = self.kept.get_seq_length()
        seen = self._real_BT if self._fixed else self._real_BT[:, : int(past) + tokens]
        places = torch.arange(tokens, device=seen.device) + past
        return {
            "attention_mask": seen.long(),
            "position_ids": ((self._real_BT.cumsum(dim=1) - 1).clamp(min=0))[:, places],
        }

    def rewind(self) -> None:
        """Forget everything behind the prompts."""
        if self._fixed:
            for layer in self.kept.layers:
                layer.cumulative_length.fill_(self._prompt)
        else:
            self.kept.crop(min(0, self._prompt - int(self.kept.get_seq_length())))


def _real(padding_B: Tensor | None, capacity: int) -> Tensor | None:
    """Which of `capacity` positions are no padding (B, capacity)."""
    if padding_B is None:
        return None
    return torch.arange(capacity, device=padding_B.device) >= padding_B[:, None]


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights as its engine stores them."""
    return network.weight_bytes() if isinstance(network, Generator) else stored_bytes(network)


Choice = Callable[[Tensor], Tensor]
"""From logits (B, V) to the next token of each sequence (B,)."""


def greedy(logits_BV: Tensor) -> Tensor:
    """The likeliest token."""
    return logits_BV.argmax(dim=-1)


def sampler(settings: SamplingConfig, seed: int, device: torch.device) -> Choice:
    """Draws tokens, always the same from a seed; greedy at a temperature of 0.

    Args:
        settings: Temperature; top_k; top_p (Holtzman et al. 2020).
        seed: Of the random numbers.
        device: Of the logits.
    """
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if settings.temperature == 0:
        return greedy
    warpers = LogitsProcessorList([TemperatureLogitsWarper(settings.temperature)])
    if settings.top_k is not None:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p is not None:
        warpers.append(TopPLogitsWarper(settings.top_p))
    random = torch.Generator(device=device).manual_seed(seed)

    def draw(logits_BV: Tensor) -> Tensor:
        scores = warpers(torch.empty(len(logits_BV), 0, dtype=torch.long), logits_BV.float())
        return torch.multinomial(scores.softmax(dim=-1), 1, generator=random)[:, 0]

    return draw
