"""Local files as a corpus: .txt, .jsonl and .parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from harness.config.data import FileDataConfig
from harness.config.task import GenerateTaskConfig, LmEvalTaskConfig
from harness.data.corpus import Corpus, clean, make_corpus, split_documents
from harness.errors import UserError

_READ_TWICE_BYTES = 1 << 26


def local_file(config: FileDataConfig) -> Corpus:
    """The documents of one file, split by document.

    Raises:
        UserError: If the file does not exist, is empty, is not text, or lacks the text column.
    """
    path = check_file(config.path)
    documents = clean(_READERS[path.suffix](path, config.text_column))
    if not documents:
        raise UserError(f"data.path={config.path}: the file holds no text", remedy="give a file with text in it")
    provenance = {"source": f"local file {path.name}", "license": "unknown", "language": "unknown"}
    return make_corpus(split_documents(documents, config.split), config.cleaning, provenance)


def check_content(config: FileDataConfig) -> None:
    """Check, before any run starts, that the file is there and holds text; files too large to read twice are trusted.

    Raises:
        UserError: As for `local_file`.
    """
    if check_file(config.path).stat().st_size <= _READ_TWICE_BYTES:
        local_file(config)


def check_file(name: str) -> Path:
    """The path of a readable file of a known type.

    Raises:
        UserError: If there is none.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"data.path={name}: no such file", remedy="check the path; it is relative to this folder")
    if path.suffix not in _READERS:
        raise UserError(f"data.path={name}: unknown type '{path.suffix}'", allowed=sorted(_READERS))
    if path.stat().st_size == 0:
        raise UserError(f"data.path={name}: the file is empty", remedy="give a file with text in it")
    return path


def read_text(path: Path, key: str = "data.path") -> str:
    """The text of a file, which `key` names.

    Raises:
        UserError: If the file is binary, or no UTF-8.
    """
    raw = path.read_bytes()
    if b"\0" in raw[:65536]:
        raise UserError(f"{key}={path}: the file is binary", remedy="give a text file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{key}={path}: not UTF-8 at byte {error.start}", remedy="convert it: iconv -f latin1 -t utf-8"
        ) from error


def lines_of(text: str) -> list[str]:
    """Lines that a line feed ends; other characters at which Unicode may break a line are part of it."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _paragraphs(path: Path, column: str) -> list[str]:
    return re.split(r"\n\s*\n", read_text(path).replace("\r\n", "\n"))


def _json_lines(path: Path, column: str) -> list[str]:
    documents = []
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"data.path={path}: line {number} is not JSON: {error}") from error
        documents.append(_text_of(row, column, f"line {number} of {path}"))
    return documents


def _text_of(row: object, column: str, where: str) -> str:
    text = row.get(column) if isinstance(row, dict) else None
    if not isinstance(text, str):
        columns = sorted(row) if isinstance(row, dict) else []
        raise UserError(f"data.text_column={column}: {where} has no such text", allowed=columns)
    return text


def _parquet(path: Path, column: str) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise UserError(f"data.path={path}: not a Parquet file: {error}") from error
    if column not in file.schema_arrow.names:
        raise UserError(f"data.text_column={column}: {path} has no such column", allowed=file.schema_arrow.names)
    return [text for text in file.read([column])[column].to_pylist() if isinstance(text, str)]


_READERS: dict[str, Callable[[Path, str], list[str]]] = {
    ".txt": _paragraphs,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}


def read_prompts(name: str) -> list[str]:
    """The prompts of a UTF-8 file, one a line; empty lines separate nothing and are left out.

    Raises:
        UserError: If there is no such file, it is no text, or it holds none.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"task.prompts={name}: no such file", remedy="check the path; it is relative to this folder")
    prompts = [line for line in lines_of(read_text(path, "task.prompts")) if line.strip()]
    if not prompts:
        raise UserError(f"task.prompts={name}: the file holds no prompt", remedy="give a file with a prompt a line")
    return prompts


def check_prompts(config: GenerateTaskConfig) -> None:
    """Check, before any run starts, that the task's prompts are there.

    Raises:
        UserError: As for `read_prompts`; or if the one prompt is empty.
    """
    if config.prompts is not None:
        read_prompts(config.prompts)
    if config.prompt is not None and not config.prompt.strip():
        raise UserError("task.prompt is empty", remedy="give a text to go on from")


def check_lm_eval(config: LmEvalTaskConfig) -> None:
    """Check, before any run starts, that lm-eval is installed and the folder of tasks is there.

    Raises:
        UserError: If not.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "task=lm-eval: the package lm-eval is not installed", remedy="pip install 'joulebench[lm-eval]'"
        )
    if config.include_path is not None and not Path(config.include_path).expanduser().is_dir():
        raise UserError(f"task.include_path={config.include_path}: no such folder")
