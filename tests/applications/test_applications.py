"""The five applications: what is asked, how it is graded, what the record says, and bad input."""

import json
from types import SimpleNamespace

import pytest
import torch

from harness.applications.application import Question, Reply
from harness.applications.code_generation import CodeGeneration
from harness.applications.dialogue import Dialogue
from harness.applications.question_answering import QuestionAnswering
from harness.applications.translation import Translation
from harness.config.compose import compose_cell
from harness.config.data import LmEvalQuestionsConfig
from harness.data.corpus import Corpus
from harness.data.examples import ExampleSet, lm_eval_questions
from harness.data.parallel import ParallelCorpus
from harness.data.tokenizers import byte_tokenizer
from harness.errors import UserError
from harness.runner.folders import run_folder
from harness.runner.preflight import check_cells
from tests.runner.test_run import run


def application(kind, task, *more):
    return kind(compose_cell([f"task={task}", *more]).config.task)


def holding(source):
    return SimpleNamespace(corpus=source, model=SimpleNamespace(tokenizer=byte_tokenizer(None, None, None)))


def test_a_translation_is_asked_for_after_examples_of_the_training_split():
    pairs = {
        "train": (("one", "uno"), ("two", "dos")),
        "validation": (),
        "test": (("three", "tres"), ("four", "cuatro")),
    }
    corpus = ParallelCorpus(pairs, {"language": "en-es", "source": "test"})
    (asked,) = application(Translation, "translation", "task.shots=1", "task.examples=1").questions(holding(corpus))
    assert asked.prompt == "English: one\nSpanish: uno\n\nEnglish: three\nSpanish:"
    assert asked.reference == "tres"


def test_a_translation_is_graded_by_bleu():
    grader = application(Translation, "translation")
    questions = [Question("", "the cat sat on the mat"), Question("", "a dog ran in the park today")]
    replies = [Reply((" the cat sat on the mat",)), Reply((" a dog ran in the park today ",))]
    assert grader.grade(questions, replies, 0).quality["bleu"] == pytest.approx(100)


def test_the_last_turn_of_a_conversation_is_asked_for():
    corpus = Corpus(
        {"train": (), "validation": (), "test": ("hi\nhello\nhow are you?\nfine", "alone")}, {"source": "test"}
    )
    (asked,) = application(Dialogue, "dialogue", "task.turns=2").questions(holding(corpus))
    assert asked.prompt == "A: hello\nB: how are you?\nA:"
    assert asked.reference == " fine"


def test_replies_are_graded_by_the_references_likelihood_and_their_own_variety():
    questions = [Question("", " yes"), Question("", " no")]
    replies = [Reply((" a b",), 2.0, 4), Reply((" a",), 1.0, 2)]
    quality = application(Dialogue, "dialogue").grade(questions, replies, 0).quality
    assert quality["perplexity"] == pytest.approx(2.718281828 ** (3 / 6))
    assert quality["distinct_1"] == pytest.approx(2 / 3)
    assert quality["words_per_reply"] == 1.5


def test_questions_with_choices_and_without():
    examples = (
        {"question": "Which?", "choices": ["x", "y"], "right": 1},
        {"question": "Who?", "choices": ["x", "y"], "labels": ["A", "B"], "right": "A"},
        {"question": "Where?", "context": "In Rome it was.", "answers": ["Rome", "in Rome"]},
    )
    asking = application(QuestionAnswering, "question-answering")
    asked = asking.questions(holding(ExampleSet(examples, {"source": "test"})))
    assert [question.reference for question in asked] == [" y", " x", "Rome"]
    assert asked[2].prompt == "In Rome it was.\n\nQuestion: Where?\nAnswer:"
    grade = asking.grade(asked, [Reply((" y",)), Reply((" y",)), Reply((" The Rome.",))], 0)
    assert grade.quality["accuracy"] == 0.5
    assert grade.quality["exact_match"] == grade.quality["answer_f1"] == 1.0
    assert grade.correct == 2


def test_programs_are_graded_by_their_tests():
    example = {"prompt": "def double(x):\n", "test": "def check(f):\n    assert f(2) == 4\n", "entry_point": "double"}
    grader = application(
        CodeGeneration,
        "code-generation",
        "task.samples=2",
        "task.k=1",
        "task.sampling.temperature=0.5",
        "task.timeout_s=1",
    )
    question = Question(example["prompt"], example=example)
    replies = [
        Reply(("    return 2 * x\n", "    return x\n")),
        Reply(("    while True: pass\n", "    open('a', 'w')\n")),
    ]
    grade = grader.grade([question, question], replies, 0)
    assert grade.quality["pass_at_k"] == pytest.approx((1 / 2 + 0) / 2)
    assert grade.quality["verdicts"] == {"passed": 1, "failed": 1, "timed out": 1, "forbidden": 1}
    assert grade.correct == 1


def test_every_problem_of_human_eval_is_solved_by_its_own_solution():
    """Its canonical solutions pass its tests in our sandbox; the first twenty here."""
    grader = application(CodeGeneration, "code-generation", "task.examples=20")
    from harness.data.examples import human_eval

    asked = grader.questions(holding(human_eval(compose_cell(["data=humaneval"]).config.data)))
    grade = grader.grade(asked, [Reply((question.reference,)) for question in asked], 0)
    assert grade.quality["pass_at_k"] == 1.0


def test_the_questions_that_lm_eval_carries_have_four_choices_and_one_right():
    questions = lm_eval_questions(LmEvalQuestionsConfig(kind="lm-eval-questions", name="lm-eval-questions")).examples
    assert len(questions) > 200
    assert all(len(question["choices"]) == 4 and 0 <= question["right"] < 4 for question in questions)
    pituitary = next(question for question in questions if "pituitary" in question["question"])
    assert pituitary["choices"] == ["Abdominal", "Cranial", "Pleural", "Spinal"]
    assert pituitary["right"] == 1
    assert pituitary["subject"] == "anatomy"


@pytest.fixture
def answering(tiny, tmp_path):
    """A small model with a context that holds a prompt; the data is to be chosen."""
    kept = [o for o in tiny if not o.startswith(("data", "task", "model.context"))]
    return [*kept, "model.context_length=256", "task.output_tokens=4", "protocol.warmup_iterations=1"]


def examples(tmp_path, rows):
    (tmp_path / "examples.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return ["data=examples", f"data.path={tmp_path}/examples.jsonl"]


def kept_answers(overrides):
    text = (run_folder(compose_cell(overrides).config) / "answers.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


QA = [{"question": f"What is {n}?", "choices": ["this", "that"], "right": n % 2} for n in range(6)]
FREE = [{"question": f"What is {n}?", "answers": [str(n)]} for n in range(3)]


def test_a_run_of_questions(answering, tmp_path):
    overrides = ["task=question-answering", *answering, *examples(tmp_path, [*QA, *FREE])]
    record = run(overrides)
    assert record.status == "ok", record.reason
    assert 0 <= record.quality["accuracy"] <= 1
    answers = record.summary["answers"]
    assert answers["requests"] == 6 * 2 + 3
    assert answers["total_energy_j"] == pytest.approx(record.summary["all_windows"]["answer"]["total_energy_j"])
    rows = kept_answers(overrides)
    assert len(rows) == 9
    assert all(row["answers"][0] in (" this", " that") for row in rows[:6])
    assert torch.is_grad_enabled()


def test_the_answers_do_not_depend_on_the_batch_size(answering, tmp_path):
    data = examples(tmp_path, [*QA, *FREE])
    one, four = (["task=question-answering", *answering, *data, f"batch_size={size}"] for size in (1, 4))
    run(one), run(four)
    assert kept_answers(one) == kept_answers(four)


def test_the_choice_is_the_likeliest_by_hand(answering, tmp_path):
    """Against one forward pass for each question and choice."""
    from harness.runner.run import load, prepare

    overrides = ["task=question-answering", *answering, *examples(tmp_path, QA), "batch_size=4"]
    run(overrides)
    config = compose_cell(overrides).config
    prepare(config)
    _, model = load(config)
    expected = []
    for example in QA:
        means = []
        for choice in (" this", " that"):
            context = [
                model.tokenizer.separator_id,
                *model.tokenizer.encode([f"Question: {example['question']}\nAnswer:"])[0],
            ]
            wanted = model.tokenizer.encode([choice])[0]
            with torch.no_grad():
                log_p = model.network(torch.tensor([context + wanted]))[0].log_softmax(-1)
            means.append(sum(log_p[len(context) - 1 + i, t].item() for i, t in enumerate(wanted)) / len(wanted))
        expected.append([" this", " that"][means[1] > means[0]])
    assert [row["answers"][0] for row in kept_answers(overrides)] == expected


@pytest.mark.parametrize(
    ("task", "metric"), [("dialogue", "distinct_1"), ("summarisation", "rouge_l"), ("code-generation", "pass_at_k")]
)
def test_a_run_of_each_application(answering, tmp_path, task, metric):
    rows = [{"document": "A cat sat. It ate.", "summary": "A cat."}] * 2
    data = {
        "dialogue": ["data=chitchat", "task.turns=2"],
        "summarisation": examples(tmp_path, rows),
        "code-generation": ["data=humaneval", "model.context_length=2048"],
    }[task]
    record = run([f"task={task}", *answering, *data, "task.examples=3", "batch_size=2"])
    assert record.status == "ok", record.reason
    assert record.quality[metric] >= 0
    assert record.summary["answers"]["joules_per_request"] > 0


def test_a_run_of_translations(answering, tmp_path):
    for name, words in (("a", "one two three four"), ("b", "uno dos tres cuatro")):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{word} {n}" for n in range(20) for word in words.split()))
    data = ["data=pair-files", f"data.source={tmp_path}/a.txt", f"data.target={tmp_path}/b.txt", "data.split.test=0.3"]
    kept = [o for o in answering if not o.startswith("tokenizer")]
    record = run(["task=translation", *kept, "tokenizer@model.tokenizer=byte", *data, "task.examples=4"])
    assert record.status == "ok", record.reason
    assert 0 <= record.quality["bleu"] <= 100


@pytest.mark.parametrize(
    ("overrides", "rows", "message"),
    [
        (["task=question-answering"], [{"text": "a"}], "example 1 of .* has no question"),
        (["task=question-answering"], [{"question": "a"}], "has neither answers nor choices"),
        (["task=question-answering"], [{"question": "a", "choices": ["x"], "right": 3}], "no right choice: right=3"),
        (["task=summarisation"], [{"document": "a"}], "has no summary"),
        (["task=question-answering", "task.output_tokens=300"], FREE, "are more than the 256 tokens"),
        (["task=question-answering", "task.chat=true"], FREE, "has no chat template"),
        (["task=code-generation", "task.samples=2"], FREE, "several samples need"),
        (["task=code-generation", "task.k=2"], FREE, "k=2 is more than samples=1"),
    ],
)
def test_bad_input(answering, tmp_path, overrides, rows, message):
    with pytest.raises(UserError, match=message):
        cell = [overrides[0], *answering, *examples(tmp_path, rows), *overrides[1:]]
        check_cells([compose_cell(cell)])
        run(cell)


def test_bad_files(answering, tmp_path):
    path = tmp_path / "examples.jsonl"
    for content, message in (
        (b"{", "line 1 is no JSON"),
        (b"[1]", "no JSON object"),
        (b"\n", "no example"),
        (b"\xff", "not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            check_cells([compose_cell(["task=question-answering", *answering, "data=examples", f"data.path={path}"])])


def test_data_of_another_kind_is_named(answering, text_file):
    text = ["data=file", f"data.path={text_file}"]
    with pytest.raises(UserError, match="task=question-answering answers examples, and the data holds a text"):
        run(["task=question-answering", *answering, *text])
    with pytest.raises(UserError, match="translates, and the data holds a text without translations"):
        run(["task=translation", *answering, *text])
    kept = [o for o in answering if not o.startswith("task.")]
    with pytest.raises(UserError, match="reads a text, and the data holds examples of an application"):
        run(["task=score", *kept, "data=humaneval"])


@pytest.mark.slow
def test_a_chat_template_is_the_models_own(cache_dir, monkeypatch):
    monkeypatch.setenv("JOULEBENCH_CACHE", str(cache_dir))
    from transformers import AutoTokenizer

    from harness.models.huggingface import wrap_tokenizer
    from harness.runner.run import load

    config = compose_cell(["model=smollm2-135m", "data=humaneval"]).config
    _, model = load(config)
    ids = model.tokenizer.chat("Hello")
    folder = next(cache_dir.glob("models/smollm2*"))
    own = AutoTokenizer.from_pretrained(folder)
    text = own.decode(ids)
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert wrap_tokenizer(own, model.network.model).chat("Hello") == ids


def test_an_answer_is_what_a_question_gets_however_many_choices_were_read(answering, tmp_path):
    rows = [{"question": f"What is {n}?", "choices": ["a", "b", "c"], "right": 0} for n in range(4)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    record = run([*answering, "task=question-answering", "data=examples", f"data.path={tmp_path}/q.jsonl"])
    assert record.status == "ok", record.reason
    answers = record.summary["answers"]
    assert (answers["answers"], answers["requests"]) == (4, 12)
    assert answers["joules_per_answer"] == pytest.approx(answers["total_energy_j"] / 4)
    assert "warmup" not in record.summary["phases"]


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("    return 1", "def f():\n    return 1"),
        (
            "Here it is:\n```python\ndef f():\n    return 1\n```\nDone.",
            "def f():\n    pass\n\ndef f():\n    return 1\n",
        ),
        ("```\ndef f():\n    return 1", "def f():\n    pass\n\ndef f():\n    return 1"),
    ],
)
def test_a_program_in_a_fence_is_one_by_itself(answer, program):
    from harness.applications.code_generation import whole_program

    assert whole_program("def f():\n", answer) == program


def test_examples_of_the_hub(monkeypatch):
    """Columns by name, also inside others; what is not there is named with what is."""
    import datasets

    from harness.data import hub
    from harness.data.examples import hub_examples

    rows = {"id": ["1"], "context": ["C"], "question": ["Who?"], "answers": [{"text": ["me", "I"], "start": [0, 1]}]}
    loaded = datasets.DatasetDict({"validation": datasets.Dataset.from_dict(rows)})
    monkeypatch.setattr(hub, "load_dataset_by_id", lambda *_: (loaded, "abc"))

    def config(*more):
        return compose_cell(["task=question-answering", "data=squad", *more]).config.data

    columns = ["data.columns={question: question, answers: answers.text}"]
    found = hub_examples(config("data.split=validation", *columns))
    assert found.examples == ({"question": "Who?", "context": "C", "answers": ["me", "I"]},)
    assert found.provenance["revision"] == "abc"
    with pytest.raises(UserError, match="no such split"):
        hub_examples(config("data.split=train", *columns))
    with pytest.raises(UserError, match="has no column answers.best"):
        hub_examples(config("data.split=validation", "data.columns={question: question, answers: answers.best}"))


def test_a_reference_longer_than_the_model_reads_is_named(answering, tmp_path):
    rows = [{"question": "Q?", "choices": ["a", "b" * 3000], "right": 0}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="a continuation of 300[01] tokens is more than the"):
        run([*answering, "task=question-answering", "data=examples", f"data.path={tmp_path}/q.jsonl"])
