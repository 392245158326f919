"""llama.cpp on a GGUF file, through the C interface of llama-cpp-python.

Shapes are suffixes: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import torch
from torch import Tensor

from harness.backends.backend import cache_dir
from harness.config.model import LocalGGUFConfig, PackagedGGUFConfig
from harness.config.platform import PrecisionConfig
from harness.config.schema import Config
from harness.data.cache import atomic_path
from harness.data.corpus import TextSource
from harness.energy.meter import EnergyMeter
from harness.errors import Unsupported, UserError
from harness.models.generation import Generator
from harness.models.gguf import describe_gguf, metadata, source_file
from harness.models.huggingface import file_hash, with_provenance
from harness.models.loaded import LoadedModel

# llama.cpp's name of the file type that a precision asks for. Activations are float32 with fp32, bfloat16 with bf16,
# and 8-bit integers with the others.
FILE_TYPES = {
    "fp32": llama_cpp.LLAMA_FTYPE_ALL_F32,
    "bf16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "q4_1": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_1,
}
# Tokens that are read in one go.
READ_AT_ONCE = 512
MOST_SEQUENCES = 256
# Memory is made for whole steps of so many tokens a sequence, and so many of them are kept.
STEP = 256
KEPT = 4


class LlamaCpp:
    """llama.cpp, on the CPU."""

    def require_supported(self, config: Config) -> None:
        """As the interface says."""
        name = f"backend={config.backend.name}"
        if config.task.trains:
            raise Unsupported(f"{name}: it does not train", remedy="use backend=eager")
        if not isinstance(config.model, PackagedGGUFConfig | LocalGGUFConfig):
            raise Unsupported(f"{name} reads GGUF files", remedy="use model=smollm2-135m, or model=gguf model.path=...")
        if config.precision.name not in FILE_TYPES:
            raise Unsupported(
                f"precision={config.precision.name}: {name} has none such", remedy=f"use one of {', '.join(FILE_TYPES)}"
            )
        if config.compression.kind != "none":
            raise Unsupported(f"compression={config.compression.name}: {name} runs models as their files have them")
        if config.hardware.accelerator != "cpu":
            raise Unsupported(f"hardware={config.hardware.name}: {name} is for CPUs here", remedy="use hardware=cpu")
        if config.batch_size > MOST_SEQUENCES:
            raise Unsupported(f"batch_size={config.batch_size}: {name} reads at most {MOST_SEQUENCES} at once")

    def load(self, config: Config, source: TextSource) -> LoadedModel:
        """The file in the cell's precision, converted once and kept in the cache.

        Raises:
            UserError: If there is no such file, or llama.cpp cannot read it.
        """
        assert isinstance(config.model, PackagedGGUFConfig | LocalGGUFConfig), "required before"
        original = source_file(config.model)
        path = converted(original, config.precision, cache_dir(config))
        described = describe_gguf(config.model, cache_dir(config))
        network = LlamaCppGenerator(path, torch.get_num_threads())
        if network.vocab_size != described.tokenizer.vocab_size:
            raise UserError(f"{path.name}: llama.cpp finds {network.vocab_size} tokens, the tokenizer has others")
        note = f"{described.provenance.get('weights_note', '')}; run by llama.cpp as {config.precision.name}"
        return with_provenance(
            replace(described, network=network),
            backend=f"llama-cpp-python {llama_cpp.__version__}",
            converted_sha256=file_hash([path]),
            weights_note=note.removeprefix("; "),
        )

    def prepare(self, config: Config, model: LoadedModel, meter: EnergyMeter) -> LoadedModel:
        """It is ready as it was loaded."""
        return model


def converted(original: Path, precision: PrecisionConfig, folder: Path) -> Path:
    """The file as llama.cpp stores it in a precision; itself where that is what it holds already.

    Raises:
        UserError: If llama.cpp cannot convert it.
    """
    wanted = FILE_TYPES[precision.name]
    if file_type(original) == wanted:
        return original
    path = folder / "models" / f"{original.stem}-{file_hash([original])[:16]}-{precision.name}.gguf"
    if not path.exists():
        silence()
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.allow_requantize, options.nthread = wanted, True, torch.get_num_threads()
        options.pure = True  # Every large weight in this type, the output layer included.
        with atomic_path(path) as temporary:
            failed = llama_cpp.llama_model_quantize(str(original).encode(), str(temporary).encode(), options)
            if failed:
                raise UserError(f"{original.name}: llama.cpp cannot convert it to {precision.name}")
    return path


def file_type(path: Path) -> int | None:
    """llama.cpp's number of a file's type; None where the file does not say."""
    number = metadata(path, "general.file_type")
    return None if number is None else int(number)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _nothing(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Takes what llama.cpp would print."""


def silence() -> None:
    """Keep llama.cpp from writing to the terminal."""
    llama_cpp.llama_log_set(_nothing, ctypes.c_void_p(0))


@dataclass
class _Context:
    """llama.cpp's working memory for a number of sequences of a length, and what it holds now."""

    handle: Any
    memory: Any
    reader: int = 0  # number of the prompts that were read into it last


class LlamaCppGenerator(Generator):
    """A GGUF model behind the interface of all generators.

    Args:
        path: The file.
        threads: CPU threads.

    Raises:
        UserError: If llama.cpp cannot read it.
    """

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__()
        silence()
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not self._model:
            raise UserError(f"{path}: llama.cpp cannot read this file")
        self._threads = threads
        self.vocab_size = int(llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model)))
        self._looked_up = embedding_bytes(path)
        self._contexts: dict[tuple[int, int], _Context] = {}
        self._reads = 0

    def weight_bytes(self) -> int:
        """As the base class says: tensors as the file stores them."""
        return int(llama_cpp.llama_model_size(self._model))

    def streamed_bytes(self) -> int:
        """As the base class says."""
        return self.weight_bytes() - self._looked_up

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        B, T = ids_BT.shape
        context = self._fresh(B, T)
        rows = [(number, 0, ids, range(T)) for number, ids in enumerate(ids_BT.tolist())]
        return self._read(context, rows).view(B, T, -1)

    def prefill(
        self, ids_BT: Tensor, padding_B: Tensor | None, capacity: int, fixed: bool
    ) -> tuple[Tensor, LlamaCppCache]:
        """As the base class says; padding is left out."""
        padding = [0] * len(ids_BT) if padding_B is None else padding_B.tolist()
        prompts = [ids[missing:] for ids, missing in zip(ids_BT.tolist(), padding, strict=True)]
        context = self._fresh(len(prompts), capacity)
        cache = LlamaCppCache(self, context, [len(prompt) for prompt in prompts], self.cache_bytes(capacity))
        rows = [(number, 0, prompt, [len(prompt) - 1]) for number, prompt in enumerate(prompts)]
        return self._read(context, rows), cache

    def step(self, tokens_B: Tensor, cache: LlamaCppCache) -> Tensor:
        """As the base class says."""
        cache.require_current()
        rows = [(number, cache.lengths[number], [token], [0]) for number, token in enumerate(tokens_B.tolist())]
        cache.lengths = [length + 1 for length in cache.lengths]
        return self._read(cache.context, rows)

    def cache_bytes(self, capacity: int) -> int:
        """Bytes of keys and values of a sequence, 16 bits each as llama.cpp keeps them."""
        model = self._model
        heads, shared = llama_cpp.llama_model_n_head(model), llama_cpp.llama_model_n_head_kv(model)
        width = llama_cpp.llama_model_n_embd(model) // heads * shared
        return int(2 * 2 * llama_cpp.llama_model_n_layer(model) * width * capacity)

    def _fresh(self, sequences: int, capacity: int) -> _Context:
        """Empty memory for so many sequences; what was in it before is gone."""
        key = (sequences, -(-capacity // STEP) * STEP)
        if key not in self._contexts:
            if len(self._contexts) == KEPT:
                llama_cpp.llama_free(self._contexts.pop(next(iter(self._contexts))).handle)
            self._contexts[key] = self._new_context(*key)
        context = self._contexts[key]
        llama_cpp.llama_memory_clear(context.memory, False)
        self._reads += 1
        context.reader = self._reads
        return context

    def _new_context(self, sequences: int, capacity: int) -> _Context:
        options = llama_cpp.llama_context_default_params()
        options.n_seq_max, options.n_ctx = sequences, sequences * capacity
        options.n_batch, options.n_ubatch = max(READ_AT_ONCE, sequences), READ_AT_ONCE
        options.n_threads = options.n_threads_batch = self._threads
        handle = llama_cpp.llama_init_from_model(self._model, options)
        if not handle:
            raise MemoryError(f"llama.cpp has no memory for {sequences} sequences of {capacity} tokens")
        return _Context(handle, llama_cpp.llama_get_memory(handle))

    def _read(self, context: _Context, rows: Sequence[tuple[int, int, list[int], Sequence[int]]]) -> Tensor:
        """Feed tokens; logits (N, V) of the places that are asked for, in order.

        Args:
            context: Where past tokens are.
            rows: Of each sequence its number, its length so far, further tokens, and places among them.
        """
        flat = [
            (token, past + place, number, place in set(wanted))
            for number, past, tokens, wanted in rows
            for place, token in enumerate(tokens)
        ]
        most = llama_cpp.llama_n_batch(context.handle)
        parts = [self._decode(context, flat[start : start + most]) for start in range(0, len(flat), most)]
        return torch.from_numpy(np.concatenate(parts) if len(parts) > 1 else parts[0])

    def _decode(self, context: _Context, tokens: Sequence[tuple[int, int, int, bool]]) -> np.ndarray[Any, Any]:
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, (token, position, sequence, wanted) in enumerate(tokens):
                batch.token[place], batch.pos[place], batch.logits[place] = token, position, wanted
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
            if status := llama_cpp.llama_decode(context.handle, batch):
                raise MemoryError(f"llama.cpp cannot read {len(tokens)} more tokens (status {status})")
        finally:
            llama_cpp.llama_batch_free(batch)
        outputs = sum(wanted for *_, wanted in tokens)
        if not outputs:
            return np.empty((0, self.vocab_size), dtype=np.float32)
        logits = llama_cpp.llama_get_logits(context.handle)
        return np.ctypeslib.as_array(logits, shape=(outputs, self.vocab_size)).copy()


class LlamaCppCache:
    """Keys and values of prompts in llama.cpp's memory.

    Args:
        network: Whose memory it is.
        context: That memory.
        prompts: Tokens of each prompt.
        bytes_each: Bytes of a sequence at most.
    """

    def __init__(self, network: LlamaCppGenerator, context: _Context, prompts: list[int], bytes_each: int) -> None:
        self.context = context
        self.lengths = list(prompts)
        self._network = network
        self._prompts = prompts
        self._reader = context.reader
        self._bytes = bytes_each * len(prompts)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self._bytes

    @property
    def position_bytes(self) -> int:
        """Bytes of one position of one sequence."""
        return self._network.cache_bytes(1)

    def require_current(self) -> None:
        """Check that no other prompts were read into the same memory since."""
        assert self.context.reader == self._reader, "one batch of prompts is answered at a time"

    def rewind(self) -> None:
        """Forget everything behind the prompts."""
        self.require_current()
        for sequence, length in enumerate(self._prompts):
            llama_cpp.llama_memory_seq_rm(self.context.memory, sequence, length, -1)
        self.lengths = list(self._prompts)


def embedding_bytes(path: Path) -> int:
    """Bytes of the token embedding where the output layer is another: its rows are looked up, not read whole."""
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    return tensors.get("token_embd.weight", 0) if "output.weight" in tensors else 0
