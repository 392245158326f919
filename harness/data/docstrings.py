"""Documents with summaries that every Python carries: docstrings, whose first line sums up the rest (PEP 257)."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.config.data import DocstringsConfig
from harness.data.corpora import library_files
from harness.data.examples import ExampleSet

# Characters of a description worth summing up, and of a first line that sums up.
DOCUMENT, SUMMARY = (400, 4000), (20, 120)


def docstrings(config: DocstringsConfig) -> ExampleSet:
    """Every docstring of the standard library with a first line and a longer description, in an order by hash."""
    found = {(document, summary) for path in library_files() for document, summary in _of_file(path)}
    ordered = sorted(found, key=lambda pair: hashlib.sha256(pair[0].encode()).digest())
    examples = tuple({"document": document, "summary": summary} for document, summary in ordered)
    source = f"docstrings of the standard library of Python {sysconfig.get_python_version()}"
    return ExampleSet(examples, {"source": source, "license": "PSF-2.0"})


def _of_file(path: Path) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    except (SyntaxError, ValueError):  # Templates that are no programs.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Module):
            pair = split_docstring(node)
            if pair is not None:
                yield pair


def split_docstring(node: Any) -> tuple[str, str] | None:
    """The description below a docstring's first line, and that line; None where one is missing or of odd length."""
    text = ast.get_docstring(node, clean=False)
    lines = inspect.cleandoc(text).split("\n") if text else []
    if len(lines) < 3 or lines[1].strip():
        return None
    summary, document = lines[0].strip(), "\n".join(lines[2:]).strip()
    fits = DOCUMENT[0] <= len(document) <= DOCUMENT[1] and SUMMARY[0] <= len(summary) <= SUMMARY[1]
    return (document, summary) if fits and summary.endswith(".") else None
