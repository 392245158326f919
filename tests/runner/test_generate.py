"""Task `generate`: its phases, its latencies, its bad input."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

from harness.config.compose import compose_cell
from harness.errors import UserError
from harness.runner.answering import until_end
from harness.runner.folders import run_folder
from harness.runner.generate import Timing, latencies
from harness.runner.preflight import check_cells
from tests.runner.test_run import run


@pytest.fixture
def generating(tiny) -> list[str]:
    """A small cell that answers 6 prompts of 8 tokens with 5 tokens each, 4 at a time."""
    return [*tiny, "task=generate", "task.prompt_tokens=8", "task.output_tokens=5", "task.requests=6",
            "protocol.min_repeats=3", "protocol.warmup_iterations=1"]  # fmt: skip


def files(overrides):
    folder = run_folder(compose_cell(overrides).config)
    lines = (folder / "generations.jsonl").read_text(encoding="utf-8").splitlines()
    windows = pd.read_parquet(folder / "windows.parquet")
    return [json.loads(line) for line in lines], windows, pd.read_parquet(folder / "requests.parquet")


def test_each_phase_is_measured_in_windows_of_its_own(generating):
    record = run(generating)
    assert record.status == "ok", record.reason
    texts, windows, requests = files(generating)
    assert len(texts) == 6
    assert set(record.summary["phases"]) == {"score", "prefill", "decode", "request"}
    measured = windows[windows["repeat"].notna()]
    prefill, decode, whole = (measured[measured["phase"] == phase] for phase in ("prefill", "decode", "request"))
    assert min(len(prefill), len(decode), len(whole)) >= 3
    assert set(prefill["tokens"] % 8) == {0}
    # Batches of 4 prompts, the second filled up with the first ones; 4 decoding steps each.
    assert (decode["tokens"] / decode["iterations"] == 4).all()
    assert (whole["tokens"] == 5 * whole["samples"]).all()
    assert (requests["requests"] == 4).all()
    assert requests["inter_token_latencies_s"].map(len).eq(4).all()
    assert record.quality["perplexity"] > 1
    assert record.summary["generation"]["prompt_tokens_mean"] == 8
    assert record.summary["generation"]["kv_cache_bytes"] > 0


def test_latencies_are_within_the_windows_that_they_come_from(generating):
    record = run(generating)
    _, windows, requests = files(generating)
    whole = windows[(windows["phase"] == "request") & windows["repeat"].notna()].set_index("repeat")["duration_s"]
    waits = requests["time_to_first_token_s"] + requests["inter_token_latencies_s"].map(sum)
    assert (waits.groupby(requests["repeat"]).sum() <= whole).all()
    found = record.summary["generation"]
    assert found["request_latency_s_p50"] <= found["request_latency_s_p90"] <= found["request_latency_s_p99"]


def test_percentiles_weigh_each_request():
    timings = [Timing(1, 1, 1.0, (0.1, 0.3)), Timing(1, 3, 2.0, (0.2, 0.2))]
    found = latencies(timings)
    assert found["latency_requests"] == 4
    assert found["time_to_first_token_s_p50"] == 2.0
    assert found["time_to_first_token_s_p90"] == pytest.approx(np.percentile([1, 2, 2, 2], 90))
    assert found["request_latency_s_p50"] == pytest.approx(2.4)
    assert found["time_per_output_token_s_p50"] == pytest.approx(0.2)
    assert found["inter_token_latency_s_p99"] == pytest.approx(np.percentile([0.1, 0.3] + [0.2] * 6, 99))


def test_a_prompt_of_ones_own_is_continued(generating):
    record = run([*generating, "task.prompt=The cat", "task.score=false"])
    assert record.status == "ok", record.reason
    (text,), _, _ = files([*generating, "task.prompt=The cat", "task.score=false"])
    assert text["prompt"] == "The cat"
    assert text["tokens"] <= 5
    assert record.quality == {}
    assert set(record.summary["phases"]) == {"prefill", "decode", "request"}


def test_prompts_of_a_file_have_their_own_lengths(generating, tmp_path):
    (tmp_path / "prompts.txt").write_text("The cat\n\nA much longer one\nß\n", encoding="utf-8")
    overrides = [*generating, f"task.prompts={tmp_path}/prompts.txt", "batch_size=2"]
    record = run(overrides)
    texts, _, _ = files(overrides)
    assert [text["prompt"] for text in texts] == ["The cat", "A much longer one", "ß"]
    # Bytes and a separator; the first prompt fills up the second batch.
    assert record.summary["generation"]["prompt_tokens_mean"] == pytest.approx((8 + 18 + 3 + 8) / 4)
    assert record.summary["generation"]["requests"] == 3


def test_outputs_do_not_depend_on_the_batch_size(generating):
    one, four = [*generating, "batch_size=1", "task.score=false"], [*generating, "task.score=false"]
    run(one), run(four)
    assert files(one)[0] == files(four)[0]


def test_the_same_seed_draws_the_same(generating):
    sampled = [*generating, "task.sampling.temperature=1.0", "task.score=false"]
    run(sampled)
    first = files(sampled)[0]
    run(sampled)
    assert files(sampled)[0] == first
    run([*sampled, "seed=1"])
    assert files([*sampled, "seed=1"])[0] != first


def test_the_end_of_text_ends_an_output():
    assert until_end([5, 6, 2, 7, 2], (2, 3)) == [5, 6]
    assert until_end([5, 6], (2,)) == [5, 6]
    assert until_end([2], (2,)) == []


@pytest.mark.slow
def test_compiled_steps_have_a_phase_of_their_own_and_the_same_outputs(generating):
    plain, compiled = [*generating, "task.score=false"], [*generating, "task.score=false", "backend=compile"]
    run(plain)
    record = run(compiled)
    assert record.status == "ok", record.reason
    assert record.summary["all_windows"]["compile"]["duration_s"] > 0
    assert files(compiled)[0] == files(plain)[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["task.prompt_tokens=30"], "a prompt of 30 tokens and task.output_tokens=5 are more than the 32 tokens"),
        (["task.scoring.max_bytes=10", "task.prompt=''"], "task.prompt is empty"),
        (["task.prompts=/nowhere.txt"], "no such file"),
        (["task.prompt=a", "task.prompts=b"], "task.prompt or task.prompts, not both"),
        (["task.output_tokens=1"], "task.output_tokens"),
        (["task.sampling.top_p=1.5"], "task.sampling.top_p"),
    ],
)
def test_bad_input(generating, more, message):
    with pytest.raises(UserError, match=message):
        cell = compose_cell([*generating, *more])
        check_cells([cell])
        run([*generating, *more])


def test_a_prompt_file_in_another_encoding(generating, tmp_path):
    (tmp_path / "latin.txt").write_bytes("Gr\xfc\xdfe".encode("latin-1"))
    with pytest.raises(UserError, match="task.prompts=.*not UTF-8 at byte 2"):
        check_cells([compose_cell([*generating, f"task.prompts={tmp_path}/latin.txt"])])


def test_a_masked_model_does_not_continue_a_text(generating):
    kept = [o for o in generating if not o.startswith(("model", "tokenizer"))]
    shape = ["model=bert-tiny", "model.n_embd=32", "model.context_length=32", "tokenizer@model.tokenizer=byte"]
    with pytest.raises(UserError, match="does not continue a text"):
        run([*kept, *shape])


def test_decode_windows_hold_no_prefill(generating, monkeypatch):
    """A prefill that takes long is in no decode window."""
    from harness.models.gpt import GPT

    prefill = GPT.prefill

    def slow(self, *args):
        time.sleep(0.1)
        return prefill(self, *args)

    monkeypatch.setattr(GPT, "prefill", slow)
    record = run([*generating, "task.score=false"])
    phases = record.summary["phases"]
    assert phases["prefill"]["duration_s"] / phases["prefill"]["iterations"] > 0.1
    assert phases["decode"]["duration_s"] / phases["decode"]["iterations"] < 0.08
    assert torch.is_grad_enabled()


def test_prefill_and_decode_energy_add_up_to_the_requests_within_their_intervals(generating, rapl, monkeypatch):
    """Simulated counters at a constant power, and a clock that only the model's work moves."""
    from harness.energy.trace import PowerSampler
    from harness.models.gpt import GPT
    from tests.simulate import Load, VirtualClock, drive_rapl

    clock = VirtualClock.install(monkeypatch)
    drive_rapl(
        rapl,
        clock,
        {"package-0": Load([(0.0, 100.0)]), "package-1": Load([(0.0, 20.0)]), "dram": Load([(0.0, 5.0)])},
        monkeypatch,
    )
    # On a clock that runs faster than the machine's own the sampler of power would never sleep.
    monkeypatch.setattr(PowerSampler, "start", lambda self: None)
    prefill, step = GPT.prefill, GPT.step
    monkeypatch.setattr(GPT, "prefill", lambda *given: (clock.advance(0.5), prefill(*given))[1])
    monkeypatch.setattr(GPT, "step", lambda *given: (clock.advance(0.1), step(*given))[1])
    grid = [o for o in generating if not o.startswith("energy")]
    record = run([*grid, "energy=counters", "task.score=false", "task.requests=4", "protocol.window_s=3.0"])
    assert record.status == "ok", record.reason
    phases = record.summary["phases"]
    for phase in phases.values():
        assert phase["energy_method"] == "measured_counter"
    # 125 W; a batch of 4 takes 0.5 s to read and 4 further steps of 0.1 s.
    assert phases["prefill"]["joules_per_sample"] == pytest.approx(125 * 0.5 / 4, rel=0.02)
    assert phases["decode"]["joules_per_token"] == pytest.approx(125 * 0.1 / 4, rel=0.02)
    assert phases["request"]["joules_per_sample"] == pytest.approx(125 * 0.9 / 4, rel=0.02)
    for phase, seconds in (("prefill", 0.5), ("decode", 0.1), ("request", 0.9)):
        rounds = phases[phase]["iterations"] if phase == "decode" else phases[phase]["samples"] / 4
        assert phases[phase]["duration_s"] == pytest.approx(seconds * rounds)
    # 8 tokens are read and 5 added.
    assert record.summary["generation"]["joules_per_total_token"] == pytest.approx(125 * 0.9 / 4 / (8 + 5), rel=0.02)
    parts = phases["prefill"]["joules_per_sample"] + 4 * phases["decode"]["joules_per_token"]
    half = sum(phases[name]["joules_per_token_relative_half_width"] for name in ("prefill", "decode", "request"))
    assert parts == pytest.approx(phases["request"]["joules_per_sample"], rel=half)


def test_utilisation_of_decoding_by_hand(generating):
    """Weights once a step, and keys and values so far, over the bandwidth; FLOPs of each token over the peak."""
    hardware = [
        "hardware.memory_bandwidth_bytes_per_s=1e12",
        "hardware.cache_bytes=1",
        "hardware.peak_flops.float32=1e13",
    ]
    record = run([*generating, "task.score=false", "task.requests=4", *hardware])
    decode, config = record.summary["phases"]["decode"], compose_cell(generating).config.model
    weights = record.model["weight_bytes"] - config.context_length * config.n_embd * 4  # without the positions' table
    position = 2 * config.n_layer * config.n_embd * 4
    kept = 4 * sum(8 + step for step in range(1, 5)) * position  # 4 sequences, 4 steps after 8 tokens
    rounds = decode["iterations"] / 4
    assert decode["mbu"] == pytest.approx(rounds * (4 * weights + kept) / decode["duration_s"] / 1e12)
    assert decode["mfu"] == pytest.approx(decode["flops"] / decode["duration_s"] / 1e13)
    per_token = [2 * weights / 4 + 4 * config.n_layer * config.n_embd * (8 + step) for step in range(1, 5)]
    assert decode["flops"] == pytest.approx(rounds * 4 * sum(per_token))
    assert record.summary["generation"]["kv_cache_bytes"] == 4 * (8 + 5) * position


def test_the_end_of_text_ends_a_kept_text_and_no_measurement(generating, monkeypatch):
    """A model that always says the end of text, from its second token on."""
    from harness.models.gpt import GPT

    step = GPT.step

    def ending(self, tokens, cache):
        logits = step(self, tokens, cache)
        return torch.where(torch.arange(logits.shape[1]) == 256, 1e9, logits)

    monkeypatch.setattr(GPT, "step", ending)
    overrides = [*generating, "task.score=false"]
    run(overrides)
    texts, windows, requests = files(overrides)
    assert {text["tokens"] for text in texts} == {1}
    decode = windows[(windows["phase"] == "decode") & windows["repeat"].notna()]
    assert (decode["tokens"] == 4 * decode["iterations"]).all()
    assert requests["inter_token_latencies_s"].map(len).eq(4).all()


@pytest.mark.parametrize("where", ["prefill", "step"])
def test_no_memory_while_generating_is_oom(generating, monkeypatch, where):
    from harness.models.gpt import GPT

    def full(*given):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(GPT, where, full)
    record = run([*generating, "task.score=false"])
    assert record.status == "oom"
    assert "can't allocate memory" in record.reason


def test_a_trained_checkpoint_generates(train_tiny, generating, tmp_path):
    run([*train_tiny, "task.save_checkpoint=true"])
    kept = [o for o in generating if not o.startswith(("model", "tokenizer"))]
    record = run([*kept, "model=checkpoint", f"model.path={tmp_path}/results/adhoc/train-*"])
    assert record.status == "ok", record.reason
    assert "checkpoint of run train-" in record.model["source"]
    assert record.quality["perplexity"] < 200


def test_a_separator_of_lines_that_is_none_stays_in_its_text(tmp_path, capsys):
    from harness.commands.display import print_generations

    (tmp_path / "generations.jsonl").write_text(
        json.dumps({"prompt": "a\u2028b", "output": "c\u0085d"}, ensure_ascii=False) + "\n"
    )
    print_generations(tmp_path)
    assert "c\u0085d" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        (" a\nb", ("\n",), " a"),
        ("\n\n a\nb", ("\n",), "\n\n a"),  # an empty line before the answer ends nothing
        ("\nclass X", ("\nclass",), ""),
        ("a b", ("\n",), "a b"),
        ("\n\n", ("\n",), "\n\n"),
        ("a;b\nc", ("\n", ";"), "a"),
    ],
)
def test_where_a_text_stops(text, stops, expected):
    from harness.runner.answering import until_stop

    assert until_stop(text, stops, lenient=True) == expected
    assert until_stop("\n a\nb", ("\n",)) == ""  # as lm-eval has it
