"""Results of other tools as rows of our table.

Under external/ stand files that lm-eval 0.4.13, optimum-benchmark 0.6.0 and CodeCarbon 3.3.2 wrote on a CPU without
counters, of a GPT-2 of 37,792 random parameters; lists of raw latencies and what says where they ran were cut out. The
files of ML.ENERGY have the keys of those that it publishes, and numbers that can be checked in the head.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import UserError
from harness.metrics.registry import BY_NAME
from harness.report.external.read import FORMATS, read_external
from harness.stats.power_law import fit_power_law

FILES = Path(__file__).parent / "external"
LM_EVAL = FILES / "results_2026-11-25T01-39-05.865228.json"
KINDS = {
    "tidy-csv": FILES / "power_law.csv",
    "lm-eval": LM_EVAL,
    "optimum-benchmark": FILES / "benchmark.json",
    "codecarbon": FILES / "emissions.csv",
    "ml-energy": FILES / "ml_energy_3_task.json",
}


def load(path):
    return json.loads(path.read_text())


def one(kind, path):
    rows = read_external(f"{kind}={path}")
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_of_every_format_have_our_columns_only(kind):
    rows = read_external(f"{kind}={KINDS[kind]}")
    assert set(rows.columns) <= set(BY_NAME)
    assert {"study", "run_id", "status", "origin"} <= set(rows.columns)
    assert set(rows["status"]) == {"ok"}
    assert rows["run_id"].is_unique
    assert rows["origin"].str.endswith(KINDS[kind].name).all()


# A tidy CSV.


def test_a_fit_through_imported_points_gives_the_law_that_made_them():
    rows = read_external(f"tidy-csv={KINDS['tidy-csv']}")
    assert list(rows["num_parameters"]) == [1e6, 1e7, 1e8, 1e9, 1e10]
    law = fit_power_law(list(rows["num_parameters"]), list(rows["joules_per_token"]))
    assert law.exponent == pytest.approx(0.8, abs=1e-9)
    assert law.factor == pytest.approx(3e-8, rel=1e-9)
    assert set(rows["energy_method"]) == {"measured_counter"}
    assert list(rows["model"])[:2] == ["law-1m", "law-10m"]
    assert "note" not in rows


def test_a_csv_with_our_names_needs_no_map(written):
    text = (
        "model,precision,seed,bits_per_byte,joules_per_token,energy_method\n125,8,3,0.9,0.02,modelled\nb,fp32,,1.1,,\n"
    )
    rows = read_external(f"tidy-csv={written('mine.csv', text)}")
    assert list(rows["run_id"]) == ["mine-1", "mine-2"]
    assert rows["study"].tolist() == ["mine", "mine"]
    assert rows["model"][0] == "125"
    assert rows["precision"][0] == "8"
    assert rows["seed"][0] == 3
    assert math.isnan(rows["joules_per_token"][1])


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("model,perplexty\na,1\n", None, "perplexty.*\n.*Did you mean 'perplexity'.*mine.columns.yaml"),
        ("model,joules_per_token\na,1\n", None, "joules_per_token without energy_method\n.*allowed: measured_counter"),
        ("model,run_energy_j,energy_method\na,1,modelled\nb,2,\n", None, "run_energy_j without energy_method"),
        ("model,bleu,run_energy_j,energy_method\na,1,1,unavailable\n", None, "run_energy_j without energy_method"),
        ("model,energy_method\na,measured\n", None, "energy_method=measured\n.*allowed: measured_counter"),
        ("model,status\na,fine\n", None, "status=fine\n.*allowed: ok, oom"),
        ("model,perplexity\na,3\nb,3;4\n", None, "line 3: perplexity=3;4 is no number"),
        ("model,ppl\na,3\n", "columns: {pl: perplexity}", "has no column 'pl'\n.*allowed: model, ppl\n.*'ppl'"),
        ("model,ppl\na,3\n", "columns: {ppl: perplexty}", "perplexty"),
        ("model,ppl\na,3\n", "columns: {ppl: perplexity}\nscale: {bleu: 100}", "bleu is scaled and not mapped"),
        ("model,ppl\na,3\n", "columns: {ppl: perplexity}\nconstants: {model: b}", "model is given twice"),
        ("model,ppl\na,3\n", "colums: {ppl: perplexity}", "a map has the keys columns, scale, constants"),
        ("model,ppl\na,3\n", "columns: {ppl: perplexity}\nscale: {perplexity: much}", "no map of columns"),
        ("model,ppl\na,3\n", "columns: [", "no map of columns"),
        ("model\n", None, "no run in it"),
    ],
)
def test_a_csv_that_cannot_be_taken_as_it_is(written, text, columns, message):
    path = written("mine.csv", text)
    if columns:
        written("mine.columns.yaml", columns)
    with pytest.raises(UserError, match=message):
        read_external(f"tidy-csv={path}")


# lm-eval.


def test_lm_eval_has_a_row_a_task():
    rows = read_external(f"lm-eval={LM_EVAL}").set_index("data")
    assert list(rows.index) == ["demo_choice", "demo_text", "demo_free"]
    choice, text = rows.loc["demo_choice"], rows.loc["demo_text"]
    # 5 of 10 right: sqrt(0.5 x 0.5 / 9) = 1/6.
    assert choice["accuracy"] == 0.5
    assert choice["accuracy_ci_low"] == pytest.approx(0.5 - 1.96 / 6)
    assert choice["accuracy_ci_high"] == pytest.approx(0.5 + 1.96 / 6)
    assert text["bits_per_byte"] == pytest.approx(math.log2(text["byte_perplexity"]))
    assert text["word_perplexity"] == 7784616818.494862
    assert "word_perplexity_ci_low" not in rows  # lm-eval writes N/A.
    assert math.isnan(text["accuracy"])
    assert "energy_method" not in rows
    assert (choice["task"], choice["model"], choice["precision"]) == ("lm-eval", "tiny", "fp32")
    assert (choice["hardware"], choice["device_name"], choice["batch_size"]) == ("cpu", "AMD EPYC", 4)
    assert choice["num_parameters"] == 37792
    assert choice["started_at"] == "2026-11-25T01:38:59+00:00"


def lm_eval_file(metrics, config=None, metric_list=(), **top):
    configs = {"t": {"metric_list": list(metric_list)}}
    return {"results": {"t": metrics}, "configs": configs, "config": config or {"model_args": "pretrained=m"}, **top}


def test_lm_eval_reads_older_files_and_the_first_filter(written):
    metrics = {"exact_match,strict-match": 0.2, "exact_match,flexible-extract": 0.4, "rouge1,none": 0.3, "f1,none": 0.9}
    config = {"model_args": "pretrained=org/m,dtype=bfloat16", "batch_size": "auto", "model_num_parameters": -1}
    row = one("lm-eval", written("results_1.json", lm_eval_file(metrics, config)))
    assert (row["exact_match"], row["accuracy"], row["rouge1"]) == (0.2, 0.2, 0.3)
    assert (row["model"], row["precision"]) == ("org/m", "bf16")
    assert row["run_id"] == "lm-eval-t-m-bf16"
    assert not {"batch_size", "num_parameters", "answer_f1", "hardware"} & set(row.index)


def test_an_interval_of_a_fraction_stays_within_0_and_1(written):
    metrics = {"acc,none": 0.98, "acc_stderr,none": 0.02, "acc_norm,none": 0.5}
    row = one("lm-eval", written("results_1.json", lm_eval_file(metrics)))
    assert (row["accuracy"], row["accuracy_ci_high"]) == (0.98, 1.0)
    assert row["accuracy_ci_low"] == pytest.approx(0.98 - 0.0392)


def test_bleu_is_sacrebleus_of_the_corpus_or_none(written):
    metrics = {"acc,none": 0.5, "bleu,none": 31.0, "bleu_stderr,none": 1.0}
    corpus = lm_eval_file(metrics, metric_list=[{"metric": "bleu", "aggregation": "bleu"}])
    row = one("lm-eval", written("results_1.json", corpus))
    assert (row["bleu"], row["bleu_ci_low"], row["bleu_ci_high"]) == (31.0, 29.04, 32.96)
    of_sentences = lm_eval_file(metrics, metric_list=[{"metric": "bleu", "aggregation": "nanmean"}])
    assert "bleu" not in one("lm-eval", written("results_2.json", of_sentences)).index


def test_lm_eval_knows_the_gpu(written):
    config = {"model_args": {"pretrained": "m"}, "device": "cuda:0"}
    text = "GPU models and configuration: \nGPU 0: NVIDIA H100 80GB HBM3\nGPU 1: other\n"
    found = lm_eval_file({"acc,none": 0.5}, config, pretty_env_info=text)
    assert one("lm-eval", written("results_1.json", found))["device_name"] == "NVIDIA H100 80GB HBM3"


def test_percentages_where_lm_eval_gives_fractions_are_refused(written):
    with pytest.raises(UserError, match=r"results_1.json: acc,none of t is 45.0; expected a fraction.*\n.*tidy-csv"):
        read_external(f"lm-eval={written('results_1.json', lm_eval_file({'acc,none': 45.0}))}")


# optimum-benchmark.


def test_optimum_benchmark_is_read_in_our_units():
    row = one("optimum-benchmark", FILES / "benchmark.json")
    report = load(FILES / "benchmark.json")["report"]
    # 2 requests of 64 + 17 tokens a call; the first output token belongs to prefill: 2 x 16 tokens of decoding.
    kwh = {name: report[name]["energy"]["total"] for name in ("prefill", "generate")}
    assert row["joules_per_request"] == pytest.approx(kwh["generate"] * 3.6e6 / 2)
    assert row["joules_per_output_token"] == pytest.approx(kwh["generate"] * 3.6e6 / 34)
    assert row["prefill_joules_per_token"] == pytest.approx(kwh["prefill"] * 3.6e6 / 128)
    assert row["decode_joules_per_token"] == pytest.approx((kwh["generate"] - kwh["prefill"]) * 3.6e6 / 32)
    assert row["joules_per_token"] == row["decode_joules_per_token"]
    mean = {name: report[name]["latency"]["mean"] for name in ("prefill", "decode", "generate")}
    assert row["prefill_tokens_per_second"] == pytest.approx(128 / mean["prefill"])
    assert row["tokens_per_second"] == pytest.approx(32 / mean["decode"])
    # Not the file's 671.7 "samples/s", which are tokens.
    assert row["requests_per_second"] == pytest.approx(2 / mean["generate"])
    assert row["time_to_first_token_s_p99"] == 0.09351489055919981
    assert row["time_per_output_token_s_p50"] == pytest.approx(0.017111434000980807 / 16)
    assert row["request_latency_s_p90"] == 0.12230185219996202
    assert row["latency_requests"] == 2 * 63
    assert row["peak_rss_bytes"] == 595677184
    assert (row["model"], row["precision"], row["batch_size"], row["backend"]) == ("tiny", "fp32", 2, "eager")
    assert (row["hardware"], row["device_name"], row["task"]) == ("cpu", "AMD EPYC", "generate")


def test_a_zero_of_an_absent_gpu_is_missing_and_the_sum_is_modelled():
    assert load(FILES / "benchmark.json")["report"]["decode"]["energy"]["gpu"] == 0.0
    row = one("optimum-benchmark", FILES / "benchmark.json")
    assert "gpu_energy_j" not in row.index
    assert row["cpu_energy_j"] == pytest.approx(5.9254970424956086e-08 * 3.6e6)
    assert (row["energy_components"], row["energy_method"]) == ("cpu+dram", "modelled")
    # One call's latencies stand in per_token once for each later call: 17 x (1 + ... + 63) - 63.
    assert load(FILES / "benchmark.json")["report"]["per_token"]["latency"]["count"] == 17 * 63 * 64 // 2 - 63
    assert not [name for name in row.index if name.startswith("inter_token_latency")]


def test_a_report_alone_says_nothing_of_the_model_unless_its_configuration_is_beside_it(written):
    whole = load(FILES / "benchmark.json")
    path = written("a/benchmark_report.json", whole["report"])
    alone = one("optimum-benchmark", path)
    assert not {"model", "batch_size", "precision", "device_name", "prefill_joules_per_token"} & set(alone.index)
    assert alone["decode_joules_per_token"] == pytest.approx(3.6e6 / 153647751.64510044)
    written("a/benchmark_config.json", whole["config"])
    beside, direct = one("optimum-benchmark", path), one("optimum-benchmark", FILES / "benchmark.json")
    assert beside.drop("origin").equals(direct.drop("origin"))


def test_a_folder_is_searched_and_equal_runs_get_ids_of_their_own(written):
    whole = load(FILES / "benchmark.json")
    for folder in ("a", "b"):
        written(f"{folder}/benchmark.json", whole)
        path = written(f"{folder}/benchmark_report.json", whole["report"])
    rows = read_external(f"optimum-benchmark={path.parent.parent}")
    first = "optimum-benchmark-tiny_gpt2-tiny-fp32-b2"
    assert list(rows["run_id"]) == [first, f"{first}-2"]


def test_beams_and_lost_decode_energy(written):
    whole = load(FILES / "benchmark.json")
    whole["config"]["scenario"]["generate_kwargs"]["num_beams"] = 4
    whole["report"]["decode"]["energy"] = {"unit": "kWh", "cpu": -1e-9, "ram": -2e-9, "gpu": 0.0, "total": -3e-9}
    whole["report"]["decode"]["efficiency"]["value"] = 0
    row = one("optimum-benchmark", written("benchmark.json", whole))
    assert row["tokens_per_second"] == pytest.approx(806.8722736367238 / 4)
    assert not {"joules_per_token", "cpu_energy_j", "energy_components"} & set(row.index)


@pytest.mark.parametrize(
    ("backend", "precision", "engine"),
    [
        ({"torch_dtype": "bfloat16", "torch_compile": True}, "bf16", "compile"),
        ({"torch_dtype": "float32", "autocast_enabled": True, "autocast_dtype": "bfloat16"}, "bf16-mixed", "eager"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq", "eager"),
        ({"torch_dtype": "auto", "name": "onnxruntime"}, None, "onnxruntime"),
    ],
)
def test_precision_and_engine_of_optimum_benchmark(written, backend, precision, engine):
    whole = load(FILES / "benchmark.json")
    whole["config"]["backend"].update(backend)
    row = one("optimum-benchmark", written("benchmark.json", whole))
    assert (row.get("precision"), row["backend"]) == (precision, engine)


def test_optimum_benchmarks_training_and_forward(written):
    energy = {"unit": "kWh", "cpu": 1e-5, "ram": 2e-5, "gpu": 7e-5, "total": 1e-4}
    latency = {"count": 140, "total": 70.0, "p50": 0.5, "p90": 0.6, "p99": 0.7}
    train = {
        "overall": {"energy": energy, "latency": latency, "efficiency": {"value": 5.6e6}},
        "warmup": {},
        "train": {},
    }
    config = {"backend": {"device": "cuda", "model": "m"}, "environment": {"gpu": ["GPU X", "GPU X"]}}
    config["scenario"] = {"training_arguments": {"per_device_train_batch_size": 4}}
    row = one("optimum-benchmark", written("a/benchmark.json", {"config": config, "report": train}))
    assert (row["task"], row["batch_size"], row["device_name"]) == ("train", 4, "GPU X")
    assert (row["train_energy_j"], row["train_s"], row["train_steps"]) == (360.0, 70.0, 140)
    assert row["joules_per_step"] == pytest.approx(360 / 140)
    # 560 samples on 1e-4 kWh.
    assert row["joules_per_sample"] == pytest.approx(360 / 560)
    assert row["energy_components"] == "cpu+dram+gpu"
    forward = {
        "forward": {"energy": energy, "latency": latency, "efficiency": {"value": 2e4}, "throughput": {"value": 4}}
    }
    row = one("optimum-benchmark", written("b/benchmark.json", {"config": config, "report": forward}))
    assert (row["task"], row["joules_per_sample"], row["requests_per_second"]) == ("forward", 180.0, 4)
    assert row["request_latency_s_p99"] == 0.7


def test_the_scenario_that_counts_tokens_which_were_not_generated_is_refused(written):
    whole = load(FILES / "benchmark.json")
    whole["report"]["load_dataset"] = whole["report"]["load_model"]
    with pytest.raises(UserError, match="scenario inference or training"):
        read_external(f"optimum-benchmark={written('benchmark.json', whole)}")


# CodeCarbon.


def test_codecarbon_has_a_row_a_run():
    rows = read_external(f"codecarbon={FILES / 'emissions.csv'}")
    assert list(rows["run_id"]) == ["codecarbon-tiny-train-f2c6c6fe", "codecarbon-tiny-train-8f36f96a"]
    row = rows.iloc[0]
    assert row["run_energy_j"] == pytest.approx(2.6347054949664153e-05 * 3.6e6)
    assert row["cpu_energy_j"] == pytest.approx(4.419748271880613e-06 * 3.6e6)
    assert row["dram_energy_j"] == pytest.approx(2.1927306677783542e-05 * 3.6e6)
    assert row["mean_power_w"] == pytest.approx(94.849398 / 4.004851, rel=1e-6)
    assert "gpu_energy_j" not in rows  # It wrote 0.0: there is none.
    assert (row["energy_components"], row["energy_method"]) == ("cpu+dram", "modelled")
    assert (row["study"], row["device_name"]) == ("tiny-train", "AMD EPYC")
    assert not {"model", "precision", "batch_size"} & set(rows.columns)


def emissions(**values):
    header, first, _ = (FILES / "emissions.csv").read_text().splitlines()
    entry = {**dict(zip(header.split(","), first.split(","), strict=True)), **{k: str(v) for k, v in values.items()}}
    return ",".join(entry) + "\n" + ",".join(entry.values()) + "\n"


def test_codecarbons_pue_is_taken_out_again_and_its_gpu_named(written):
    text = emissions(pue=1.5, gpu_energy=3e-5, energy_consumed=6e-5, gpu_model="1 x GPU X", gpu_count=1)
    row = one("codecarbon", written("emissions.csv", text))
    assert row["run_energy_j"] == pytest.approx(144.0)
    assert row["gpu_energy_j"] == pytest.approx(72.0)
    assert (row["energy_components"], row["device_name"]) == ("cpu+dram+gpu", "1 x GPU X")


def test_the_last_row_of_a_run_that_was_flushed_counts(written):
    text = emissions(energy_consumed=1e-5) + emissions(energy_consumed=2e-5).splitlines()[1] + "\n"
    assert one("codecarbon", written("emissions.csv", text))["run_energy_j"] == pytest.approx(72.0)


def test_codecarbons_tasks_and_its_first_files(written):
    text = emissions(task_name="load") + emissions(task_name="train").splitlines()[1] + "\n"
    rows = read_external(f"codecarbon={written('emissions_base_1.csv', text)}")
    assert list(rows["task"]) == ["load", "train"]
    assert rows["run_id"].is_unique
    old = (
        "timestamp,experiment_id,project_name,duration,emissions,energy_consumed\n2024-04-18,f5d08fb3-71,p,10,1,1e-5\n"
    )
    row = one("codecarbon", written("old/emissions.csv", old))
    assert (row["run_energy_j"], row["mean_power_w"], row["run_id"]) == (36.0, 3.6, "codecarbon-p-f5d08fb3")
    assert "energy_components" not in row.index


# ML.ENERGY.


def test_version_2_of_ml_energy(written):
    place = "data/llm_text_generation/chat/A100-SXM4-40GB/meta-llama/Meta-Llama-3.1-8B-Instruct/bs128+tp2+pp1.json"
    row = one("ml-energy", written(place, load(FILES / "ml_energy_2.json")))
    # 60 J over 480 tokens, at 1500 tokens a second.
    assert (row["joules_per_request"], row["joules_per_output_token"]) == (60.0, 0.125)
    assert row["requests_per_second"] == pytest.approx(3.125)
    assert row["mean_power_w"] == pytest.approx(187.5)
    assert (row["model"], row["data"], row["batch_size"]) == ("meta-llama/Meta-Llama-3.1-8B-Instruct", "chat", 128)
    assert row["device_name"] == "2 x NVIDIA A100-SXM4-40GB"
    assert row["origin"] == "ML.ENERGY 2, bs128+tp2+pp1.json"
    assert not {"precision", "decode_joules_per_token", "num_parameters"} & set(row.index)


def test_leaderboard_data_of_version_3():
    rows = read_external(f"ml-energy={FILES / 'ml_energy_3_task.json'}")
    first, second = rows.iloc[0], rows.iloc[1]
    assert first["run_id"] == "ml-energy-gpqa-Qwen3-8B-bf16-H100-b16"
    assert (first["joules_per_token"], first["joules_per_request"], first["mean_power_w"]) == (0.5, 4000.0, 500.0)
    assert first["inter_token_latency_s_p50"] == pytest.approx(0.012)
    assert (first["num_parameters"], first["precision"], first["task"]) == (8e9, "bf16", "serve")
    assert (second["device_name"], second["precision"]) == ("4 x H100", "mxfp4")
    assert set(rows["energy_method"]) == {"measured_counter"}
    assert set(rows["energy_components"]) == {"gpu"}
    by_model = read_external(f"ml-energy={FILES / 'ml_energy_3_model.json'}")
    assert by_model.iloc[0].drop("origin").equals(first.drop("origin"))
    assert list(by_model["batch_size"]) == [16, 32]


def test_a_run_of_version_3_in_its_folder(written):
    place = "run/llm/gpqa/results/Qwen/Qwen3-8B/H100/num_gpus+2+max_num_seqs+128+seed+1/results.json"
    path = written(place, load(FILES / "ml_energy_3_run.json"))
    written(str(Path(place).with_name("prometheus.json")), {"timeline": []})
    row = one("ml-energy", path.parents[7])
    assert (row["data"], row["batch_size"], row["device_name"]) == ("gpqa", 128, "2 x H100")
    assert (row["joules_per_output_token"], row["gpu_energy_j"], row["mean_power_w"]) == (0.1, 50000.0, 500.0)
    # 50 kJ at 0.1 J are 500,000 tokens in 100 s; 600 of them are a request.
    assert row["tokens_per_second"] == pytest.approx(5000.0)
    assert row["requests_per_second"] == pytest.approx(5000 / 600)
    assert row["joules_per_request"] == pytest.approx(60.0)
    assert row["time_to_first_token_s_p90"] == pytest.approx(0.3)
    assert row["request_latency_s_p99"] == pytest.approx(25.0)
    assert not [name for name in row.index if name.startswith("inter_token_latency")]
    # Elsewhere, the measurement itself still says how many GPUs it is the sum of.
    elsewhere = one("ml-energy", FILES / "ml_energy_3_run.json")
    assert not {"device_name", "batch_size", "data"} & set(elsewhere.index)


# What is wrong.


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        ("tidy-csv", "x.csv", "", "x.csv: cannot be read as CSV"),
        ("lm-eval", "results_x.json", "{", "results_x.json: cannot be read as JSON"),
        ("lm-eval", "results_x.json", [1], "results_x.json: holds a list; expected lm-eval's"),
        ("lm-eval", "results_x.json", {"results": {}}, "has no results or no config"),
        ("lm-eval", "results_x.json", {"results": {"t": {"mcc,none": 1}}, "config": {}}, "none of acc, acc_norm"),
        ("optimum-benchmark", "benchmark.json", {"a": 1}, "benchmark.json: has a; expected optimum-benchmark's"),
        ("codecarbon", "emissions.csv", "a,b\n1,2\n", "lacks the columns run_id, duration, energy_consumed"),
        ("codecarbon", "emissions.csv", "", "emissions.csv: cannot be read as CSV"),
        ("ml-energy", "x.json", {"Energy/image (J)": 3}, "x.json: has the keys Energy/image"),
        ("ml-energy", "x.json", {"configurations": [{"energy_per_generation_joules": 3}]}, "without energy_per_token"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected_and_a_remedy(written, kind, name, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_external(f"{kind}={written(name, content)}")
    assert caught.value.remedy
    assert "expected" in caught.value.what


def test_a_format_or_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="allowed: tidy-csv, lm-eval, optimum-benchmark.*\n.*Did you mean 'lm-eval'"):
        read_external(f"lm_eval={LM_EVAL}")
    with pytest.raises(UserError, match="give FORMAT=PATH"):
        read_external("lm-eval")
    with pytest.raises(UserError, match="there is no .*nowhere"):
        read_external(f"lm-eval={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match=r"no results_\*.json in"):
        read_external(f"lm-eval={tmp_path}")


def test_imported_rows_stand_beside_ours():
    ours = pd.DataFrame([dict.fromkeys(BY_NAME) | {"run_id": "a", "joules_per_token": 0.01}])
    both = pd.concat([ours, *(read_external(f"{kind}={path}") for kind, path in KINDS.items())], ignore_index=True)
    assert list(both.columns) == list(BY_NAME)
    assert len(both) == 1 + 5 + 3 + 1 + 2 + 2


def test_importing_loads_no_torch():
    code = (
        "import sys, harness.report.external.read; assert not {'torch', 'transformers', 'lm_eval'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
