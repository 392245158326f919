"""Options of the `task` group: what is done with the model and the text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.applications import ApplicationConfig
from harness.config.base import Count, Fraction, Index, NonNegative, Positive, option
from harness.config.sampling import SamplingConfig


@option
class ScoringConfig:
    """How a held-out text is scored: the token protocol of a perplexity.

    The documents are joined into one stream, each after a separator token that is context and is never scored.
    Windows of `context` tokens advance by `stride`; each token is scored once, by the first window that reaches it.
    With `documents: separate` each document stands alone, in windows of the same kind. With `documents: rolling` each
    stands alone in lm-eval's rolling windows: without overlap, but that the last is filled with the tokens before it.
    """

    split: Literal["train", "validation", "test"]
    max_bytes: Count
    context: Count | None
    stride: Count | None
    documents: Literal["packed", "separate", "rolling"]

    def __post_init__(self) -> None:
        if self.stride is not None and self.context is not None and self.stride > self.context:
            raise ValueError(f"stride={self.stride} is longer than context={self.context}: tokens would be left out")
        if self.stride is not None and self.documents == "rolling":
            raise ValueError("scoring.stride is for packed documents: rolling windows have their own")


@option
class ScoreTaskConfig:
    """Perplexity and bits per byte of a held-out text."""

    kind: Literal["score"]
    implementation: ClassVar[str] = "harness.runner.score:run_score"
    main_phase: ClassVar[str] = "score"
    trains: ClassVar[bool] = False
    several_devices: ClassVar[bool] = False
    name: str
    scoring: ScoringConfig


@option
class OptimizerConfig:
    """Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019), after a linear warm-up on a schedule.

    `cosine` and `linear` go from the peak to `final_fraction` of it at the last step; `inverse_sqrt` falls with the
    square root of the step (Vaswani et al. 2017); `constant` stays.
    """

    name: Literal["adam", "adamw"]
    learning_rate: Positive
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"]
    final_fraction: Fraction
    warmup_steps: Index
    weight_decay: NonNegative
    beta1: Fraction
    beta2: Fraction
    epsilon: Positive
    gradient_clip_norm: Positive | None


@option
class StopConfig:
    """What ends a training before its last step, whichever is met first; None for never.

    `tokens`, `seconds` and `joules` count training alone, its warm-up included, validation excluded. `quality` is a
    value of `metric`, as a validation finds it; `patience` is a number of validations without an improvement of it.
    """

    tokens: Count | None
    seconds: Positive | None
    joules: Positive | None
    metric: Literal["perplexity", "bits_per_byte"]
    quality: Positive | None
    patience: Count | None


@option
class ValidationConfig:
    """How often quality is looked at during training, in steps or tokens, and on how much of the validation split."""

    every: Count | None
    every_tokens: Count | None
    max_bytes: Count


@option
class LoraConfig:
    """Low-rank adaptation (Hu et al. 2022) through peft; off where `rank` is None."""

    rank: Count | None
    alpha: Positive
    dropout: Fraction


@option
class DistillationConfig:
    """Training towards a teacher's distribution (Hinton et al. 2015); off where `teacher` is None.

    `teacher` is the folder of a run that kept its checkpoint, or a pattern that matches one. The loss is `weight` times
    the divergence from the teacher at `temperature`, and 1 - `weight` times the cross entropy.
    """

    teacher: str | None
    weight: Fraction
    temperature: Positive


@option
class TrainTaskConfig:
    """Training from the model's current weights, then scoring of a held-out text."""

    kind: Literal["train"]
    implementation: ClassVar[str] = "harness.runner.train:run_train"
    main_phase: ClassVar[str] = "train"
    trains: ClassVar[bool] = True
    several_devices: ClassVar[bool] = True
    name: str
    steps: Count
    context: Count | None
    micro_batch_size: Count | None
    optimizer: OptimizerConfig
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    compile: bool
    activation_checkpointing: bool
    freeze: list[str]
    lora: LoraConfig
    distillation: DistillationConfig
    stop: StopConfig
    validation: ValidationConfig
    scoring: ScoringConfig
    save_checkpoint: bool
    checkpoint_every: Count | None

    def __post_init__(self) -> None:
        often = self.validation.every or self.validation.every_tokens
        if self.validation.every and self.validation.every_tokens:
            raise ValueError("give validation.every in steps or validation.every_tokens, not both")
        if often is None and (self.stop.quality is not None or self.stop.patience is not None):
            raise ValueError("stop.quality and stop.patience need validation.every: how often quality is looked at")


@option
class GenerateTaskConfig:
    """Text from prompts, phase by phase."""

    kind: Literal["generate"]
    implementation: ClassVar[str] = "harness.runner.generate:run_generate"
    preflight: ClassVar[str] = "harness.data.files:check_prompts"
    main_phase: ClassVar[str] = "decode"
    trains: ClassVar[bool] = False
    several_devices: ClassVar[bool] = False
    name: str
    prompt: str | None
    prompts: str | None
    prompt_tokens: Count
    output_tokens: Annotated[int, Field(ge=2)]
    requests: Count
    sampling: SamplingConfig
    score: bool
    scoring: ScoringConfig

    def __post_init__(self) -> None:
        if self.prompt is not None and self.prompts is not None:
            raise ValueError("give task.prompt or task.prompts, not both")


@option
class LmEvalTaskConfig:
    """Tasks of lm-eval (Gao et al.), by name or from a folder of YAMLs."""

    kind: Literal["lm-eval"]
    implementation: ClassVar[str] = "harness.runner.lm_eval_task:run_lm_eval"
    preflight: ClassVar[str] = "harness.data.files:check_lm_eval"
    main_phase: ClassVar[str] = "lm-eval"
    trains: ClassVar[bool] = False
    several_devices: ClassVar[bool] = False
    name: str
    tasks: list[str]
    include_path: str | None
    num_fewshot: Index | None
    limit: Count | None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("task.tasks is empty: name at least one, such as task.tasks=[arc_easy]")


TaskConfig = ScoreTaskConfig | TrainTaskConfig | GenerateTaskConfig | LmEvalTaskConfig | ApplicationConfig
