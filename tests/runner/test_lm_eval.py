"""lm-eval on the loaded model: the scores are those of lm-eval's own Hugging Face model, and every request is metered."""

import functools
import json
import sys
from pathlib import Path

import pytest
import torch
from lm_eval.tasks._index import TaskIndex
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.config.compose import compose_cell
from harness.errors import UserError
from harness.runner.lm_eval_task import accuracy, right_answers
from harness.runner.preflight import check_cells
from tests.models.test_huggingface import llama, local  # noqa: F401 (a fixture)
from tests.runner.test_run import run

QUESTIONS = [
    {"question": f"What follows {number}?", "choices": [str(number + 1), str(number - 1), "nothing at all"], "answer": number % 3}
    for number in range(1, 13)
]  # fmt: skip
TEXTS = [{"text": " ".join(f"The {n} and the {n + 1} of it." for n in range(k))} for k in (1, 5, 30)]

CHOICE = """
task: follows
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}} "
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}]
metadata: {{version: 3.0}}
"""
ROLLING = """
task: texts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/texts.jsonl}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: byte_perplexity}}, {{metric: bits_per_byte}}]
"""
GENERATE = """
task: goes_on
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 6, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""


OWN_TASKS = Path(sys.modules[TaskIndex.__module__].__file__).parent


@functools.cache
def own_tasks(build=TaskIndex.build):
    return build([OWN_TASKS])


@pytest.fixture(autouse=True)
def own_tasks_are_read_once(monkeypatch):
    """lm-eval reads the thousands of files of its own tasks again for every run."""
    build = TaskIndex.build

    def read(paths):
        folders = [path for path in paths if path != OWN_TASKS]
        return {**(own_tasks() if OWN_TASKS in paths else {}), **build(folders)}

    monkeypatch.setattr(TaskIndex, "build", staticmethod(read))


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Three tasks with local data; nothing is written outside the folder."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, rows in (("questions", QUESTIONS), ("texts", TEXTS)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, text in (("choice", CHOICE), ("rolling", ROLLING), ("generate", GENERATE)):
        (folder / f"{name}.yaml").write_text(text.format(folder=folder))
    return folder


def cell(tiny, model, tasks, names, *more):
    kept = [o for o in local(tiny, model) if not o.startswith("task.")]
    return [*kept, "task=lm-eval", f"task.tasks=[{names}]", f"task.include_path={tasks}", *more]


def lm_evals_own(model, tasks, name):
    """The same by lm-eval's own model, one request at a time; asked once for all tests."""
    key = (str(model), (tasks / "questions.jsonl").read_text(), name)
    if key not in EXPECTED:
        EXPECTED[key] = ask_lm_evals_own(model, tasks, name)
    return EXPECTED[key]


EXPECTED: dict = {}


def ask_lm_evals_own(model, tasks, name):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    loaded = AutoModelForCausalLM.from_pretrained(model)
    own = HFLM(pretrained=loaded, tokenizer=AutoTokenizer.from_pretrained(model), batch_size=1, max_length=64)
    manager = TaskManager(include_path=str(tasks))
    return simple_evaluate(model=own, tasks=[name], task_manager=manager, bootstrap_iters=10)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("name", ["follows", "texts", "goes_on"])
def test_scores_are_those_of_lm_eval(tiny, llama, tasks, name, batch_size):  # noqa: F811
    record = run(cell(tiny, llama, tasks, name, f"batch_size={batch_size}"))
    assert record.status == "ok", record.reason
    expected = lm_evals_own(llama, tasks, name)["results"][name]
    found = record.quality["lm_eval"][name]["metrics"]
    scores = {key: value for key, value in expected.items() if isinstance(value, float) and "stderr" not in key}
    assert scores
    assert {key: found[key] for key in scores} == pytest.approx(scores, rel=1e-4)


def test_the_outputs_are_those_of_lm_eval(tiny, llama, tasks, monkeypatch):  # noqa: F811
    from harness.runner import lm_eval_task

    kept = {}
    evaluate = lm_eval_task.evaluate

    def keep(*given):
        kept["found"] = evaluate(*given)
        return kept["found"]

    monkeypatch.setattr(lm_eval_task, "evaluate", keep)
    run(cell(tiny, llama, tasks, "goes_on", "batch_size=4"))
    texts = [[row["resps"] for row in found["samples"]["goes_on"]]
             for found in (kept["found"], lm_evals_own(llama, tasks, "goes_on"))]  # fmt: skip
    assert texts[0] == texts[1]


def test_the_record_says_what_was_asked_and_what_it_cost(tiny, llama, tasks):  # noqa: F811
    record = run(cell(tiny, llama, tasks, "follows", "task.limit=10", "batch_size=4"))
    kept = record.quality["lm_eval"]["follows"]
    assert kept["version"] == 3.0
    assert kept["questions"] == 10
    assert kept["num_fewshot"] == 0
    assert len(kept["config_sha256"]) == 64
    answers = record.summary["answers"]
    assert answers["requests"] == 10 * 3  # a likelihood of each choice
    assert answers["total_energy_j"] == pytest.approx(record.summary["all_windows"]["lm-eval"]["total_energy_j"])
    assert answers["joules_per_request"] * 30 == pytest.approx(answers["total_energy_j"])
    right = record.quality["accuracy"] * 10
    assert answers["joules_per_correct_answer"] * right == pytest.approx(answers["total_energy_j"])
    assert record.quality["accuracy"] == kept["metrics"]["acc,none"]


def test_an_empty_context_and_one_that_is_too_long(tiny, llama, tasks):  # noqa: F811
    rows = [
        {"question": "", "choices": ["a", "b"], "answer": 0},
        {"question": "word " * 100, "choices": ["a", "b"], "answer": 1},
    ]
    (tasks / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tasks / "choice.yaml").write_text((tasks / "choice.yaml").read_text().replace('{{question}} "', '{{question}}"'))
    record = run(cell(tiny, llama, tasks, "follows", "batch_size=2"))
    assert record.status == "ok", record.reason
    expected = lm_evals_own(llama, tasks, "follows")["results"]["follows"]["acc,none"]
    assert record.quality["accuracy"] == expected


def test_right_answers_by_hand():
    samples = {"a": [{"acc": 1.0}, {"acc": 0.0}], "b": [{"exact_match": 1.0}], "c": [{"bleu": 3.0}], "d": []}
    rights = right_answers(samples)
    assert rights == {"a": [1.0, 0.0], "b": [1.0]}
    assert accuracy(rights, 0)["accuracy"] == pytest.approx(0.75)
    assert accuracy(rights, 0)["accuracy_ci_low"] is None
    one = accuracy({"a": [1.0, 0.0] * 50}, 0)
    assert one["accuracy_ci_low"] < 0.5 < one["accuracy_ci_high"]
    assert accuracy({}, 0) == {}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["task.tasks=[no_such_task]"], "lm-eval has no task no_such_task"),
        (["task.tasks=[]"], "task.tasks is empty"),
        (["task.include_path=/nowhere"], "no such folder"),
    ],
)
def test_bad_input(tiny, llama, tasks, more, message):  # noqa: F811
    with pytest.raises(UserError, match=message):
        overrides = cell(tiny, llama, tasks, "follows", *more)
        check_cells([compose_cell(overrides)])
        run(overrides)


def test_a_task_without_its_data_is_bad_input(tiny, llama, tasks):  # noqa: F811
    (tasks / "questions.jsonl").unlink()
    with pytest.raises(UserError, match="their data cannot be had"):
        run(cell(tiny, llama, tasks, "follows"))


def test_our_own_models_answer_too(tiny, tasks):
    kept = [o for o in tiny if not o.startswith("task.")]
    overrides = [*kept, "task=lm-eval", "task.tasks=[follows]", f"task.include_path={tasks}", "model.context_length=64"]
    record = run(overrides)
    assert record.status == "ok", record.reason
    assert 0 <= record.quality["accuracy"] <= 1
    assert torch.is_grad_enabled()


def test_of_several_filters_the_first_counts():
    rows = [{"exact_match": 1.0, "filter": "strict"}, {"exact_match": 1.0, "filter": "flexible"},
            {"exact_match": 0.0, "filter": "strict"}, {"exact_match": 1.0, "filter": "flexible"}]  # fmt: skip
    assert right_answers({"task": rows}) == {"task": [1.0, 0.0]}


@pytest.mark.slow
def test_scores_are_those_of_lm_eval_where_the_tokenizer_puts_a_token_before_every_text(tiny, llama, tasks, tmp_path):  # noqa: F811
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path / "with-bos"
    tokenizer = AutoTokenizer.from_pretrained(llama)
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", end)]
    )
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(llama).save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)("a")["input_ids"][0] == end
    for name, metric in (("follows", "acc,none"), ("texts", "word_perplexity,none")):
        expected = lm_evals_own(folder, tasks, name)["results"][name][metric]
        record = run(cell(tiny, folder, tasks, name))
        assert record.status == "ok", record.reason
        assert record.quality["lm_eval"][name]["metrics"][metric] == pytest.approx(expected, rel=1e-4), name


def test_few_shot_examples_are_asked_for_and_recorded(tiny, llama, tasks):  # noqa: F811
    shots = (tasks / "choice.yaml").read_text().replace("test_split: test", "test_split: test\nfewshot_split: test")
    (tasks / "choice.yaml").write_text(shots)
    record = run(cell(tiny, llama, tasks, "follows", "task.num_fewshot=2", "task.limit=4"))
    assert record.status == "ok", record.reason
    assert record.quality["lm_eval"]["follows"]["num_fewshot"] == 2
    assert record.quality["lm_eval"]["follows"]["questions"] == 4


def test_a_task_of_lm_evals_own_whose_data_is_out_of_reach_is_bad_input(tiny, llama, tasks, monkeypatch):  # noqa: F811
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="their data cannot be had"):
        run(cell(tiny, llama, tasks, "arc_easy"))


def test_warming_up_is_no_part_of_what_was_asked(tiny, llama, tasks):  # noqa: F811
    record = run(cell(tiny, llama, tasks, "follows"))
    assert record.summary["all_windows"]["warmup"]["duration_s"] > 0
    assert "warmup" not in record.summary["phases"]
