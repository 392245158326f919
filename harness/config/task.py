"""Options of the `task` group: what is done with the model and the text."""

from __future__ import annotations

from typing import ClassVar, Literal

from harness.config.base import Count, Fraction, Index, NonNegative, Positive, option


@option
class ScoringConfig:
    """How a held-out text is scored: the token protocol of a perplexity.

    The documents are joined into one stream, each after a separator token that is context and is never scored.
    Windows of `context` tokens advance by `stride`; each token is scored once, by the first window that reaches it.
    """

    split: Literal["train", "validation", "test"]
    max_bytes: Count
    context: Count | None
    stride: Count | None

    def __post_init__(self) -> None:
        if self.stride is not None and self.context is not None and self.stride > self.context:
            raise ValueError(f"stride={self.stride} is longer than context={self.context}: tokens would be left out")


@option
class ScoreTaskConfig:
    """Perplexity and bits per byte of a held-out text."""

    kind: Literal["score"]
    implementation: ClassVar[str] = "harness.runner.score:run_score"
    main_phase: ClassVar[str] = "score"
    name: str
    scoring: ScoringConfig


@option
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter 2019) with a linear warm-up and a cosine decay to a fraction of the peak."""

    learning_rate: Positive
    final_fraction: Fraction
    warmup_steps: Index
    weight_decay: NonNegative
    beta1: Fraction
    beta2: Fraction
    gradient_clip_norm: Positive


@option
class TrainTaskConfig:
    """Next-token training from the model's current weights, then scoring of a held-out text."""

    kind: Literal["train"]
    implementation: ClassVar[str] = "harness.runner.train:run_train"
    main_phase: ClassVar[str] = "train"
    name: str
    steps: Count
    context: Count | None
    optimizer: OptimizerConfig
    scoring: ScoringConfig
    save_checkpoint: bool


TaskConfig = ScoreTaskConfig | TrainTaskConfig
