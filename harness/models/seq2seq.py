"""Networks from a source to a target sequence: what the translation objective needs of them, and Hugging Face's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from harness.config.model import DecodingConfig
from harness.errors import UserError
from harness.metrics.flops import EncoderDecoderShape
from harness.models.loaded import count_parameters


@dataclass(frozen=True)
class Marks:
    """Token ids around sentences.

    Attributes:
        padding: Fills a source up to its batch's length.
        end: Ends a source, and a target.
        source_start: Before a source.
        target_start: Given to the decoder before a target.
    """

    padding: int
    end: int
    source_start: tuple[int, ...]
    target_start: tuple[int, ...]


class EncoderDecoder(nn.Module):
    """A network that is called with source (B, S) and target ids (B, T) and gives logits (B, T, V).

    Args:
        marks: How sentences are to be given.
        decoding: How translations are searched for.
    """

    def __init__(self, marks: Marks, decoding: DecodingConfig) -> None:
        super().__init__()
        self.marks = marks
        self.decoding = decoding

    def translate(self, source_BS: Tensor) -> list[list[int]]:
        """Target tokens of each source, without start and end."""
        raise NotImplementedError


class HuggingFaceEncoderDecoder(EncoderDecoder):
    """An encoder-decoder of Hugging Face's, such as Marian, BART or T5.

    Beam search is the library's: finished hypotheses are ranked by log-likelihood over length ** length_penalty.

    Args:
        model: The model.
        marks: As its tokenizer and configuration have them.
        decoding: How translations are searched for.
        context_length: Longest target in tokens.
    """

    def __init__(self, model: Any, marks: Marks, decoding: DecodingConfig, context_length: int) -> None:
        super().__init__(marks, decoding)
        self.model = model
        self._context_length = context_length

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Source ids (B, S) and target ids (B, T) after the start tokens, to logits (B, T, V)."""
        logits: Tensor = self.model(
            input_ids=source_BS,
            attention_mask=(source_BS != self.marks.padding).long(),
            decoder_input_ids=target_BT,
            use_cache=False,
        ).logits
        return logits

    def translate(self, source_BS: Tensor) -> list[list[int]]:
        """Target tokens of each source, without start and end."""
        beam = self.decoding.beam_size
        generated = self.model.generate(
            input_ids=source_BS,
            attention_mask=(source_BS != self.marks.padding).long(),
            num_beams=beam,
            do_sample=False,
            max_new_tokens=min(self._context_length - 1, source_BS.shape[1] + self.decoding.extra_tokens),
            **({"length_penalty": self.decoding.length_penalty} if beam > 1 else {}),
        )
        return [self._content(row) for row in generated.tolist()]

    def _content(self, row: list[int]) -> list[int]:
        given = row[1:]  # The first is the decoder's start, which may be the end token too.
        content = given[: given.index(self.marks.end)] if self.marks.end in given else given
        return [token for token in content if token != self.marks.padding and token not in self.marks.target_start[1:]]


def marks_of(model: Any, tokenizer: Any) -> Marks:
    """How a Hugging Face tokenizer puts special tokens around a sentence, and how its model starts a target.

    Raises:
        UserError: If the model does not say how a target starts, or the tokenizer does not end sentences.
    """
    specials = [int(token) for token in tokenizer("")["input_ids"]]
    start, padding = model.config.decoder_start_token_id, tokenizer.pad_token_id
    if start is None or padding is None or not specials or specials[-1] != tokenizer.eos_token_id:
        raise UserError(
            "the model's configuration and tokenizer do not say how sentences start, end and are filled up: "
            f"decoder_start_token_id={start}, pad_token_id={padding}, an empty sentence is {specials}",
            remedy="a translation model of Hugging Face's, such as Marian, BART or T5, says all three",
        )
    return Marks(int(padding), specials[-1], tuple(specials[:-1]), (int(start), *specials[:-1]))


# How the families name the decoder's keys and values of the source: Marian and BART, T5.
_SOURCE_PROJECTIONS = ("encoder_attn.k_proj.", "encoder_attn.v_proj.", "EncDecAttention.k.", "EncDecAttention.v.")


def shape_of_huggingface(model: Any) -> EncoderDecoderShape:
    """For FLOP counts: which parameters multiply source tokens, and which target tokens.

    Raises:
        UserError: If it is of another architecture than Marian, BART and T5.
    """
    config, encoder, decoder = model.config, model.get_encoder(), model.get_decoder()
    named = dict(decoder.named_parameters())
    projections = [name for name in named if any(part in name for part in _SOURCE_PROJECTIONS)]
    if not projections:
        raise UserError(
            f"models of the architecture {config.model_type} are not counted yet: which of their parameters read the "
            "source is unknown",
            remedy="use a model of Marian's, BART's or T5's architecture",
        )
    source = count_parameters(encoder) - embedded_parameters(encoder) + sum(named[name].numel() for name in projections)
    target = count_parameters(decoder) - embedded_parameters(decoder) - sum(named[name].numel() for name in projections)
    width = getattr(config, "d_kv", None)
    heads = config.num_attention_heads
    return EncoderDecoderShape(
        encoder_layers=_layers(config, "encoder_layers", "num_layers"),
        decoder_layers=_layers(config, "decoder_layers", "num_decoder_layers"),
        heads=heads,
        head_dim=int(width or config.hidden_size // heads),
        source_parameters=source,
        target_parameters=target + model.get_output_embeddings().weight.numel(),
    )


def _layers(config: Any, *names: str) -> int:
    return int(next(getattr(config, name) for name in names if getattr(config, name, None) is not None))


def embedded_parameters(network: nn.Module) -> int:
    """Parameters of a network that are looked up, not multiplied: each tensor once."""
    tables = {id(part.weight): part.weight for part in network.modules() if isinstance(part, nn.Embedding)}
    return sum(weight.numel() for weight in tables.values())
