"""Options of the applications that language models serve: tasks with examples, answers and grades."""

from __future__ import annotations

from typing import ClassVar, Literal

from harness.config.base import Count, Index, Positive, option
from harness.config.sampling import SamplingConfig


class Application:
    """What every application is to a run."""

    implementation: ClassVar[str] = "harness.applications.run:run_application"
    main_phase: ClassVar[str] = "answer"
    trains: ClassVar[bool] = False
    several_devices: ClassVar[bool] = False


@option
class TranslationTaskConfig(Application):
    """Translation from examples in the prompt (Brown et al. 2020): BLEU and chrF."""

    kind: Literal["translation"]
    application: ClassVar[str] = "harness.applications.translation:Translation"
    name: str
    examples: Count | None
    output_tokens: Count
    chat: bool
    sampling: SamplingConfig
    shots: Index


@option
class SummarisationTaskConfig(Application):
    """Summaries of documents: ROUGE (Lin 2004)."""

    kind: Literal["summarisation"]
    application: ClassVar[str] = "harness.applications.summarisation:Summarisation"
    name: str
    examples: Count | None
    output_tokens: Count
    chat: bool
    sampling: SamplingConfig
    document_tokens: Count


@option
class QuestionAnsweringTaskConfig(Application):
    """Questions: exact match and F1 of free answers (Rajpurkar et al. 2016), accuracy of choices."""

    kind: Literal["question-answering"]
    application: ClassVar[str] = "harness.applications.question_answering:QuestionAnswering"
    name: str
    examples: Count | None
    output_tokens: Count
    chat: bool
    sampling: SamplingConfig


@option
class DialogueTaskConfig(Application):
    """Conversations: perplexity of the turn that a person gave, and distinct-n of the model's own (Li et al. 2016)."""

    kind: Literal["dialogue"]
    application: ClassVar[str] = "harness.applications.dialogue:Dialogue"
    name: str
    examples: Count | None
    output_tokens: Count
    chat: bool
    sampling: SamplingConfig
    turns: Count


@option
class CodeGenerationTaskConfig(Application):
    """Programs that must pass tests: pass@k (Chen et al. 2021)."""

    kind: Literal["code-generation"]
    application: ClassVar[str] = "harness.applications.code_generation:CodeGeneration"
    name: str
    examples: Count | None
    output_tokens: Count
    chat: bool
    sampling: SamplingConfig
    samples: Count
    k: Count
    timeout_s: Positive
    memory_bytes: Count

    def __post_init__(self) -> None:
        if self.k > self.samples:
            raise ValueError(f"k={self.k} is more than samples={self.samples}: pass@k needs k programs")
        if self.samples > 1 and self.sampling.temperature == 0:
            raise ValueError("several samples need sampling.temperature above 0: greedy ones are all the same")


ApplicationConfig = (
    TranslationTaskConfig
    | SummarisationTaskConfig
    | QuestionAnsweringTaskConfig
    | DialogueTaskConfig
    | CodeGenerationTaskConfig
)
