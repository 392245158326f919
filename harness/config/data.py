"""Options of the `data` group: where text comes from, and how it is split by document."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.base import option

SplitShare = Annotated[float, Field(gt=0, lt=0.5)]


@option
class SplitConfig:
    """Documents go to a split by a hash of their normalised text, so that equal documents stay together."""

    validation: SplitShare
    test: SplitShare
    seed: int


@option
class ChitchatConfig:
    """English dialogues of the package chitchat-dataset, one conversation a document."""

    kind: Literal["chitchat"]
    implementation: ClassVar[str] = "harness.data.corpora:chitchat"
    preflight: ClassVar[str] = "harness.data.corpora:check_chitchat"
    name: str
    split: SplitConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return self.name


@option
class StandardLibraryConfig:
    """The Python sources of the running interpreter's standard library, one file a document."""

    kind: Literal["python-stdlib"]
    implementation: ClassVar[str] = "harness.data.corpora:standard_library"
    name: str
    split: SplitConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return self.name


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

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the hub id."""
        return self.id


DataConfig = ChitchatConfig | StandardLibraryConfig | FileDataConfig | HubDataConfig
