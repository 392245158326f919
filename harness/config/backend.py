"""Options of the `backend` group: the engine that runs the model."""

from __future__ import annotations

from typing import ClassVar, Literal

from harness.config.base import option


@option
class EagerConfig:
    """PyTorch, operation by operation."""

    kind: Literal["eager"]
    implementation: ClassVar[str] = "harness.backends.pytorch:Eager"
    name: str


@option
class CompiledConfig:
    """PyTorch, with decoding steps that torch.compile has made."""

    kind: Literal["compile"]
    implementation: ClassVar[str] = "harness.backends.pytorch:Compiled"
    name: str


@option
class OnnxRuntimeConfig:
    """ONNX Runtime, on the model exported from PyTorch."""

    kind: Literal["onnxruntime"]
    implementation: ClassVar[str] = "harness.backends.onnx_runtime:OnnxRuntime"
    preflight: ClassVar[str] = "harness.backends.checks:check_onnxruntime"
    name: str


@option
class LlamaCppConfig:
    """llama.cpp, on a GGUF file."""

    kind: Literal["llama-cpp"]
    implementation: ClassVar[str] = "harness.backends.llama_cpp:LlamaCpp"
    preflight: ClassVar[str] = "harness.backends.checks:check_llama_cpp"
    name: str


BackendConfig = EagerConfig | CompiledConfig | OnnxRuntimeConfig | LlamaCppConfig
