import math

import pytest

from harness.metrics.efficiency import ratio, utilisation
from harness.metrics.flops import TransformerShape, forward_flops_per_token, training_flops_per_token
from harness.metrics.language import bits_per_byte, perplexity
from harness.metrics.registry import BY_NAME, METRICS


def test_palms_count_of_gpt2_small():
    # A bias-free GPT-2 small: 12 x (12 x 768^2 + 2 x 768) + 768 + 50257 x 768, without position embeddings.
    parameters = 12 * (12 * 768**2 + 2 * 768) + 768 + 50257 * 768
    shape = TransformerShape(layers=12, heads=12, head_dim=64, matmul_parameters=parameters)
    assert training_flops_per_token(shape, 1024) * 1024 == 875_062_886_400
    assert training_flops_per_token(shape, 1024) == 3 * forward_flops_per_token(shape, 1024)


def test_a_uniform_model_has_the_vocabulary_as_perplexity():
    assert perplexity(1000 * math.log(512), 1000) == pytest.approx(512)


def test_bits_per_byte_is_log2_of_the_byte_perplexity():
    assert bits_per_byte(693.1471805599453, 500) == pytest.approx(2.0)
    assert bits_per_byte(123.4, 77) == pytest.approx(math.log2(perplexity(123.4, 77)))


def test_perplexities_are_lm_evals():
    from lm_eval.api import metrics

    items = [(-120.5, 31), (-77.25, 18)]  # log-likelihood, weight
    nats, weight = 120.5 + 77.25, 31 + 18
    assert perplexity(nats, weight) == pytest.approx(metrics.weighted_perplexity(items))
    assert bits_per_byte(nats, weight) == pytest.approx(metrics.bits_per_byte(items))


def test_a_missing_operand_gives_no_ratio():
    assert ratio(6.0, 3.0) == 2.0
    assert ratio(None, 3.0) is None
    assert ratio(6.0, None) is None
    assert ratio(6.0, 0) is None


def test_utilisation_by_hand_and_empty_without_a_peak():
    assert utilisation(3e12, 2.0, 1e12, devices=3) == pytest.approx(0.5)
    assert utilisation(3e12, 2.0, None, devices=1) is None
    assert utilisation(None, 2.0, 1e12, devices=1) is None


def test_overflow_is_infinite():
    assert perplexity(1e6, 1) == math.inf


def test_columns_that_the_design_names_exist():
    names = [
        "study",
        "run_id",
        "status",
        "task",
        "model",
        "num_parameters",
        "data",
        "batch_size",
        "precision",
        "hardware",
        "device_name",
        "seed",
        "repeats",
        "perplexity",
        "bits_per_byte",
        "bleu",
        "tokens_per_second",
        "joules_per_token",
        "joules_per_token_ci_low",
        "joules_per_token_ci_high",
        "energy_method",
        "gpu_energy_j",
        "cpu_energy_j",
        "dram_energy_j",
        "mean_power_w",
        "peak_memory_allocated_bytes",
        "peak_rss_bytes",
        "mfu",
        "duration_s",
    ]
    assert set(names) <= set(BY_NAME)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric):
    assert metric.label
    assert metric.meaning.endswith(".")
    assert metric.scale > 0
