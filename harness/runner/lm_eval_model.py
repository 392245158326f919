"""The model that is already loaded, as lm-eval asks for one: no second copy, and every request under the meter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from harness.config.sampling import SamplingConfig
from harness.errors import UserError
from harness.models.generation import Generator, sampler
from harness.runner.answering import Completion, complete, likelihoods
from harness.runner.portions import Portions
from harness.runner.session import Session


class LoadedLM(TemplateLM):  # type: ignore[misc]
    """A session's model behind lm-eval's interface.

    Likelihoods are those of lm-eval's own Hugging Face model: contexts that are too long lose their beginning, rolling
    windows overlap by one token, an empty context is the separator.

    Args:
        session: Gives model, batch size and precision.
        network: The session's network.
        portions: Meters the requests.
    """

    def __init__(self, session: Session, network: Generator, portions: Portions) -> None:
        super().__init__()
        self._session = session
        self._network = network
        self._portions = portions
        self._text = session.model.tokenizer
        self._device = torch.device(session.config.hardware.accelerator)
        self.max_length = session.model.context_length
        self.max_gen_toks = 256
        self.batch_size = session.config.batch_size

    @property
    def eot_token_id(self) -> int:
        """Ends a text."""
        return self._text.end_ids[0]

    @property
    def prefix_token_id(self) -> int:
        """Stands before a text that has no context."""
        return self._text.separator_id

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's own caches."""
        return self._text.name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Ids of a text, after those that the tokenizer puts before every text, unless it begins with them."""
        ids = self._text.encode([string])[0]
        start = list(self._text.start_ids or ())
        return ids if add_special_tokens is False or ids[: len(start)] == start else [*start, *ids]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood in nats of each text, every token of it scored once."""
        asked: list[tuple[Any, list[int], list[int]]] = []
        counts = []
        for request in requests:
            windows = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pairs = [utils.make_disjoint_window(window) for window in windows]
            asked += [(None, context, wanted) for context, wanted in pairs]
            counts.append(len(pairs))
        found = iter(self._loglikelihood_tokens(asked))
        return [sum(next(found)[0] for _ in range(count)) for count in counts]

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Log-likelihood in nats of each continuation, and whether it is the likeliest."""
        pairs = [(context, wanted) for _, context, wanted in requests]
        found = likelihoods(self._session, self._network, self._portions, pairs)
        return [(likelihood.nats, likelihood.greedy) for likelihood in found]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continuations of each context, up to the first of its stop sequences."""
        found: dict[int, str] = {}
        groups: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
        for number, request in enumerate(requests):
            context, options = request.args
            groups.setdefault(repr(options), []).append((number, context, options))
        for group in groups.values():
            options = normalize_gen_kwargs(group[0][2], self.max_gen_toks)
            stops = [stop for stop in handle_stop_sequences(options.get("until"), eos=None) if stop]
            for (number, _, _), completion in zip(group, self._complete(group, options, stops), strict=True):
                found[number] = completion.text
        return [found[number] for number in range(len(requests))]

    def _complete(
        self, group: Sequence[tuple[int, str, dict[str, Any]]], options: dict[str, Any], stops: Sequence[str]
    ) -> list[Completion]:
        most = options["max_gen_toks"]
        if most >= self.max_length:
            raise UserError(
                f"task.tasks: max_gen_toks={most} leaves no room for a prompt in the {self.max_length} tokens that "
                f"{self._session.config.model.label} reads",
                remedy="use a model with a longer context, or a task of shorter answers",
            )
        drawn = options.get("do_sample") and options.get("temperature", 1.0)
        settings = SamplingConfig(
            temperature=float(drawn or 0.0), top_k=options.get("top_k"), top_p=options.get("top_p")
        )
        choose = sampler(settings, self._session.config.seed, self._device)
        room = self.max_length - most
        rows = [self.tok_encode(context)[-room:] or [self.prefix_token_id] for _, context, _ in group]
        return complete(self._session, self._network, self._portions, rows, most, choose, stops)
