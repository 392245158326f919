"""Every command of the README runs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.compose import compose_grid, config_dir
from harness.config.fingerprint import fingerprint

ROOT = config_dir().parent
BLOCKS = re.findall(
    r"```sh\n(.*?)```",
    "".join(
        (ROOT / page).read_text()
        for page in (
            "README.md",
            "CONTRIBUTING.md",
            "docs/training.md",
            "docs/inference.md",
            "docs/applications.md",
            "docs/backends.md",
            "docs/sweeps.md",
            "docs/reporting.md",
        )
    ),
    re.DOTALL,
)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
SHORT = [
    "protocol.window_s=0.02",
    "protocol.warmup_s=0.0",
    "protocol.warmup_iterations=1",
]
SMALL_MODEL = ["model=gpt-nano", "model.n_embd=64", "model.n_head=2", "model.n_layer=4", "model.context_length=2048",
               "tokenizer@model.tokenizer=byte"]  # fmt: skip


def test_the_first_two_commands_are_demo_and_test():
    assert COMMANDS[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_targets_exist(command):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout


@pytest.fixture
def workplace(tmp_path, text_file, cache_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOULEBENCH_CACHE", str(cache_dir))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("JOULEBENCH_RESULTS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a study as the command that the pages give makes it, once for all that report on it."""
    results = tmp_path_factory.mktemp("swept") / "results"

    def make(study):
        if not (results / study).exists():
            earlier = next(c for c in COMMANDS if f"study={study}" in c)
            assert main([*shortened(shlex.split(earlier)[1:]), f"paths.results_dir={results}"]) == 0
        return results / study

    return make


def shortened(words):
    """A command's words with what makes its cells short, of the keys that its task has.

    What generates does so with a small model, where the command names none.
    """
    task = next((word.removeprefix("task=") for word in words if word.startswith("task=")), "score")
    own = {
        "score": ["task.scoring.max_bytes=200"],
        "train": ["task.scoring.max_bytes=200", "task.steps=4"],
        "generate": ["task.scoring.max_bytes=200", "task.output_tokens=3", "task.requests=2"],
    }.get(task, ["task.examples=2", "task.output_tokens=3"])
    named = task in ("score", "train") or any(word.startswith("model=") for word in words)
    return [*words[:1], *([] if named else SMALL_MODEL), *words[1:], *SHORT, *own]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.startswith("joulebench") and not re.search("hub|local|task=lm-eval", c)]
)
def test_commands_run(command, workplace, swept):
    words = shlex.split(command)[1:]
    if words[0] in ("report", "export"):
        shutil.copytree(swept(words[1]), workplace / "results" / words[1])
        assert main(["report", words[1]]) == 0
        assert main(words) == 0
        assert list(Path("results", words[1], "figures").glob("*.pdf"))
    elif words[0] == "project":
        assert main([words[0], str(ROOT / words[1]), *words[2:]]) == 0
    elif any(word.startswith("task.distillation.teacher") for word in words):
        earlier = next(c for c in COMMANDS if "study=teachers" in c)
        assert main(shortened(shlex.split(earlier)[1:])) == 0
        assert main(shortened(words)) == 0
    elif words[0] in ("run", "sweep"):
        assert main(shortened(words)) == 0
        if "--cfg" in words:
            return
        records = [json.loads(path.read_text()) for path in Path("results").glob("*/*/record.json")]
        cells = [cell.config for cell in compose_grid(shortened(words)[1:])]
        assert sorted(record["fingerprint"] for record in records) == sorted(map(fingerprint, cells))
        assert {record["status"] for record in records} == {"ok"}
    else:
        assert main(words) == 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if "=hub" in c])
def test_hub_commands_compose_and_say_what_works_offline(command, workplace, monkeypatch, capsys):
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    words = shlex.split(command)[1:]
    assert len(compose_grid(words[1:])) == 1
    assert main(words) == 2
    assert "without a network use" in capsys.readouterr().err
    assert not (workplace / "results").exists()


@pytest.mark.parametrize("command", [c for c in COMMANDS if "=local" in c])
def test_a_local_model_that_is_not_there_is_named(command, workplace, capsys):
    assert main(shlex.split(command)[1:]) == 2
    assert "model.path=path/to/model: no such folder" in capsys.readouterr().err


def test_completion_installs(tmp_path):
    [command] = [c for c in COMMANDS if c.startswith("eval")]
    inner = re.search(r"\$\((.*)\)", command)[1]
    script = subprocess.run(
        [sys.executable, "-m", "harness", *shlex.split(inner)[1:]], capture_output=True, text=True, check=True
    )
    assert "complete " in script.stdout
    assert subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=True).returncode == 0


@pytest.mark.parametrize(("study", "column"), [("demo", 0), ("demo-2", 1)])
def test_the_reference_results_are_those_that_the_tables_show(tmp_path, study, column):
    """The README's rows stand, digit by digit, in tables made anew from the committed records."""
    source = ROOT / "results" / "reference" / study
    shutil.copytree(source, tmp_path / study, ignore=shutil.ignore_patterns("tables", "figures"))
    assert main(["report", study, "--results-dir", str(tmp_path)]) == 0
    assert (tmp_path / study / "figures" / "training_energy_perplexity.pdf").exists()  # of the demo's own list
    printed = (tmp_path / study / "tables" / "energy.md").read_text().splitlines()
    rows = re.findall(
        r"^\| (bf16|fp32), batch (\d) \| (.*) \| (.*) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M
    )
    assert len(rows) == 4
    for precision, batch, bits, *ratios in rows:
        [line] = [line for line in printed if f"| smollm2-135m | 134.5 | {batch} | {precision} |" in line]
        printed_numbers = set(re.findall(r"[\d.]+", line))
        assert {bits, *re.findall(r"[\d.]+", ratios[column])} <= printed_numbers


def test_the_finding_that_the_readme_quotes_is_computed_from_the_records():
    from harness.report.collect import collect
    from harness.report.findings import findings

    quoted = " ".join(re.findall(r"^> (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert quoted in findings(collect(ROOT / "results" / "reference" / "precision_quality"))


def test_the_options_that_the_readme_lists_are_those_of_conf():
    for group, options in re.findall(
        r"^\| `([a-z]+)[@a-z.]*` \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    ):
        listed = set(re.findall(r"`([a-z0-9_.-]+)`", options))
        if group == "experiment":
            listed |= {f"{name}-gpu" for name in listed - {"demo", "counters"}}
        there = {path.stem for path in (config_dir() / group).glob("*.yaml") if not path.stem.startswith("_")}
        assert listed == there, group
