"""A GGUF file that a Python package carries: dequantised once, then kept as safetensors under the file's hash."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from harness.config.model import PackagedGGUFConfig
from harness.data.cache import atomic_path
from harness.data.corpora import package_file
from harness.data.corpus import TextSource
from harness.models.huggingface import causal_model, file_hash, read_model, with_provenance
from harness.models.loaded import LoadedModel


def load_packaged(config: PackagedGGUFConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """The packaged model in `dtype`.

    Raises:
        UserError: If the package is not installed, with the command that installs it.
    """
    file = package_file(config.package, config.file, config.requirement)
    digest = file_hash([file])
    folder = cache_dir / "models" / f"{config.name}-{digest[:16]}"
    if not folder.exists():
        with atomic_path(folder) as temporary:
            dequantise(file, temporary)
    return with_provenance(
        causal_model(*read_model(AutoModelForCausalLM, str(folder), dtype, remote_code=False)),
        source=f"{config.file} of package {config.requirement}",
        weights_sha256=digest,
        license=config.license,
        weights_note=config.weights_note,
        remote_code="False",
    )


def dequantise(file: Path, folder: Path) -> None:
    """Write a GGUF file's model, in float32, and its tokenizer to `folder` in Hugging Face's format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
