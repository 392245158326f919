"""GGUF files, one's own or a Python package's: dequantised once, then kept as safetensors under the file's hash."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from harness.config.model import LocalGGUFConfig, PackagedGGUFConfig
from harness.data.cache import atomic_path
from harness.data.corpora import package_file
from harness.data.corpus import TextSource
from harness.errors import UserError, first_line
from harness.models.checks import gguf_file
from harness.models.huggingface import causal_model, file_hash, read_model, with_provenance
from harness.models.loaded import LoadedModel

GGUFConfig = PackagedGGUFConfig | LocalGGUFConfig


def load(config: GGUFConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """The model of a GGUF file in `dtype`, dequantised.

    Raises:
        UserError: If there is no such file or package, or the library cannot read it.
    """
    folder, digest = dequantised(config, cache_dir)
    loaded = causal_model(*read_model(AutoModelForCausalLM, str(folder), dtype, remote_code=False))
    return _with_origin(loaded, config, digest)


def describe_gguf(config: GGUFConfig, cache_dir: Path) -> LoadedModel:
    """The same without its weights, for an engine that reads the file itself.

    Raises:
        UserError: As `load`.
    """
    folder, digest = dequantised(config, cache_dir)
    with torch.device("meta"):
        model, tokenizer = read_model(
            AutoModelForCausalLM, str(folder), torch.float32, remote_code=False, trained=False
        )
    return _with_origin(causal_model(model, tokenizer), config, digest)


def source_file(config: GGUFConfig) -> Path:
    """The GGUF file that an option names.

    Raises:
        UserError: If there is none.
    """
    if isinstance(config, LocalGGUFConfig):
        return gguf_file(config.path)
    return package_file(config.package, config.file, config.requirement)


def dequantised(config: GGUFConfig, cache_dir: Path) -> tuple[Path, str]:
    """The model in Hugging Face's format, from the cache where its like was made before; and the file's hash."""
    file = source_file(config)
    digest = file_hash([file])
    folder = cache_dir / "models" / f"{config.label}-{digest[:16]}"
    if not folder.exists():
        try:
            with atomic_path(folder) as temporary:
                dequantise(file, temporary)
        except (ValueError, OSError, LookupError, NotImplementedError, struct.error) as error:
            raise UserError(f"{file} could not be loaded: {first_line(error)}") from error
    return folder, digest


def _with_origin(loaded: LoadedModel, config: GGUFConfig, digest: str) -> LoadedModel:
    facts = {"weights_sha256": digest, "remote_code": "False", "source": config.origin}
    license_name = config.license or metadata(source_file(config), "general.license")
    if license_name:
        facts["license"] = license_name
    return with_provenance(loaded, weights_note=config.weights_note, **facts)


def metadata(file: Path, key: str) -> Any:
    """What a GGUF file says of itself under a key; None where it says nothing."""
    field = GGUFReader(file).get_field(key)
    return None if field is None else field.contents()


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
