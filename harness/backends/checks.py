"""What can be known of a backend without starting it: whether its package is there."""

from __future__ import annotations

from importlib.util import find_spec

from harness.config.backend import LlamaCppConfig, OnnxRuntimeConfig
from harness.errors import UserError


def check_onnxruntime(config: OnnxRuntimeConfig) -> None:
    """Check for what exports a model and what runs it.

    Raises:
        UserError: If one of the packages is not installed.
    """
    _require(config.name, ("onnxruntime", "onnx", "onnxscript"), "pip install 'joulebench[onnxruntime]'")


def check_llama_cpp(config: LlamaCppConfig) -> None:
    """Check for llama.cpp's Python package.

    Raises:
        UserError: If it is not installed.
    """
    _require(
        config.name,
        ("llama_cpp",),
        "CMAKE_ARGS='-DGGML_NATIVE=OFF' pip install 'joulebench[llama-cpp]' (it is compiled, in minutes)",
    )


def _require(name: str, packages: tuple[str, ...], remedy: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(f"backend={name}: the package {missing[0]} is not installed", remedy=remedy)
