"""The kinds of figures: what is drawn is what the numbers say."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from harness.errors import UserError
from harness.report.collect import collect
from harness.report.figure_lists import checked, restyled
from harness.report.figures import caption, draw, write_figures
from harness.report.files import POWER, REQUESTS, WINDOWS, RunFiles
from harness.report.kinds import KINDS
from harness.report.kinds.pareto import probabilities
from harness.report.kinds.roofline import points_of
from harness.report.kinds.stacked import parts_of
from harness.report.spec import FigureSpec, spec_of
from tests.report.studies import GRID, record, write_study

DEFAULTS = {"name": "f", "series": ("precision",)}


def spec(**fields):
    return FigureSpec(**{**DEFAULTS, **fields})


def frame(tmp_path, *records):
    return collect(write_study(tmp_path / "results", *(records or GRID))).runs


def window(phase, start, length, joules, **more):
    row = {"phase": phase, "repeat": 1.0, "start_s": start, "duration_s": length, "total_energy_j": joules,
           "flops": None, "memory_bytes": None, "tokens": 10.0}  # fmt: skip
    return {**row, **more}


RUN = "gpt-nano-fp32-b1"
WINDOWS_OF_RUN = [
    window("load", 0.0, 2.0, 10.0, repeat=None),
    window("score", 2.5, 4.0, 40.0, flops=8e9, memory_bytes=2e9),
    window("score", 7.0, 4.0, 44.0, flops=8e9, memory_bytes=2e9, repeat=2.0),
]


def files(**frames):
    return RunFiles(frames={(RUN, name): pd.DataFrame(rows) for name, rows in frames.items()})


def test_bars_are_stacked_by_phase(tmp_path):
    runs = frame(tmp_path)
    runs = runs[runs["run_id"] == RUN]
    parts = parts_of(spec(kind="stacked"), runs, files(windows=WINDOWS_OF_RUN))
    assert parts.to_dict("records") == [{"load": 10.0, "score": 84.0}]
    figure = draw(spec(kind="stacked"), runs, "", files(windows=WINDOWS_OF_RUN))
    bars = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches]
    assert bars == [(0.0, 10.0), (10.0, 84.0)]


def test_a_phase_without_a_reading_is_no_bar_of_zero(tmp_path):
    runs = frame(tmp_path)
    rows = [window("load", 0.0, 2.0, None, repeat=None), window("score", 2.0, 2.0, 5.0)]
    parts = parts_of(spec(kind="stacked"), runs[runs["run_id"] == RUN], files(windows=rows))
    assert math.isnan(parts["load"][0])
    assert parts["score"][0] == 5.0


def test_bars_are_stacked_by_component(tmp_path):
    parts = parts_of(spec(kind="stacked", parts="components"), frame(tmp_path), RunFiles())
    assert list(parts.columns) == ["cpu"]
    assert sorted(parts["cpu"]) == [6.0, 10.0, 12.0, 20.0]


def test_a_trace_without_samples_shows_the_mean_power_of_each_window(tmp_path):
    runs = frame(tmp_path)
    runs = runs[runs["run_id"] == RUN]
    figure = draw(spec(kind="trace"), runs, "", files(windows=WINDOWS_OF_RUN))
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].get_lines()]
    assert lines == [([0.0, 2.0], [5.0, 5.0]), ([2.5, 6.5], [10.0, 10.0]), ([7.0, 11.0], [11.0, 11.0])]
    assert "nothing was sampled" in caption(spec(kind="trace"), runs, files(windows=WINDOWS_OF_RUN))


def test_a_trace_holds_each_sample_until_the_next(tmp_path):
    runs = frame(tmp_path)
    runs = runs[runs["run_id"] == RUN]
    samples = [{"time_s": t, "component": "gpu0", "watts": w} for t, w in ((0.2, 70.0), (0.0, 60.0), (0.1, 65.0))]
    figure = draw(spec(kind="trace"), runs, "", files(windows=WINDOWS_OF_RUN, power=samples))
    [line] = figure.axes[0].get_lines()
    assert list(line.get_ydata()) == [60.0, 65.0, 70.0]
    assert line.get_drawstyle() == "steps-post"


HARDWARE = {"peak_flops": {"float32": 1e12, "bfloat16": None}, "memory_bandwidth_bytes_per_s": 1e11, "devices": 2}


def test_a_roofline_by_hand(tmp_path):
    """16 GFLOP and 4 GB in 8 s: 4 FLOP a byte at 2 GFLOP/s, below 2 x 100 GB/s x 4 FLOP/byte = 800 GFLOP/s."""
    config = {"hardware": HARDWARE, "precision": {"compute": "float32"}}
    study = write_study(tmp_path / "results", {**record(), "config": config}, windows=WINDOWS_OF_RUN)
    collected = collect(study)
    points = points_of(collected.files, RUN)
    assert points.to_dict("index") == {"score": {"intensity": 4.0, "flops_per_second": 2e9}}
    roofline = spec(kind="roofline", series=("precision",))
    figure = draw(roofline, collected.runs, "", collected.files)
    point, roof = figure.axes[0].get_lines()
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([4.0], [2.0])
    x, y = (np.asarray(data) for data in roof.get_data())
    assert y.max() == pytest.approx(2000.0)  # two devices of 1 TFLOP/s
    assert np.interp(4.0, x, y) == pytest.approx(800.0, rel=0.01)


def test_a_roofline_without_known_peaks_is_left_out(tmp_path):
    unknown = {**HARDWARE, "peak_flops": {"float32": None}}
    config = {"hardware": unknown, "precision": {"compute": "float32"}}
    study = write_study(tmp_path / "results", {**record(), "config": config}, windows=WINDOWS_OF_RUN)
    assert write_figures(collect(study), [spec(kind="roofline")], tmp_path / "out", "acl") == []


def test_a_heat_map_writes_each_value_and_leaves_what_is_missing_blank(tmp_path):
    runs = frame(tmp_path)
    runs = runs[runs["run_id"] != RUN]
    heat = spec(kind="heat-map", x="batch_size", y="precision", value="joules_per_token")
    figure = draw(heat, runs)
    assert [text.get_text() for text in figure.axes[0].texts] == ["12", "6", "10"]
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["bf16", "fp32"]


def test_a_heat_map_of_modelled_and_measured_energy_is_left_out(tmp_path):
    measured = record(precision="bf16", batch=8, method="measured_counter")
    study = write_study(tmp_path / "results", *GRID[:3], measured)
    heat = spec(kind="heat-map", x="batch_size", y="precision", value="joules_per_token")
    assert write_figures(collect(study), [heat], tmp_path / "out", "acl") == []


def test_distributions_are_of_raw_values(tmp_path):
    """Two batches of requests: 0.1 s and 0.3 s to the first token, and 10, 20, 30 ms between tokens."""
    runs = frame(tmp_path)
    rows = [
        {"time_to_first_token_s": 0.1, "inter_token_latencies_s": [0.01, 0.03]},
        {"time_to_first_token_s": 0.3, "inter_token_latencies_s": [0.02]},
    ]
    expected = {
        "time_to_first_token_s": [100.0, 300.0],
        "inter_token_latency_s": [10.0, 20.0, 30.0],
        "time_per_output_token_s": [20.0, 20.0],
        "request_latency_s": [140.0, 320.0],
    }
    for latency, values in expected.items():
        figure = draw(spec(kind="distribution", x=latency), runs[runs["run_id"] == RUN], "", files(requests=rows))
        [line] = figure.axes[0].get_lines()
        assert list(line.get_xdata()) == pytest.approx(values)
        assert line.get_ydata()[-1] == 100.0


def test_an_unknown_latency_is_refused(tmp_path):
    study = write_study(tmp_path / "results", *GRID)
    with pytest.raises(UserError, match="x=latency"):
        write_figures(collect(study), [spec(kind="distribution", x="latency")], tmp_path / "out", "acl")


def test_a_forest_marks_what_holds_no_difference(tmp_path):
    runs = frame(tmp_path).set_index("run_id", drop=False)
    runs = runs[runs["energy_ratio"] > 1].assign(energy_ratio_ci_low=[0.9, 1.5, 1.6])
    figure = draw(spec(kind="forest", x="energy_ratio", series=("precision", "batch_size")), runs)
    points = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 1 and line.get_marker() in "oD"]
    assert len(points) == 3
    [point] = [line for line in points if to_hex(line.get_color()) == "#777777"]
    assert point.get_marker() == "D"
    assert point.get_xdata()[0] == runs.iloc[0]["energy_ratio"]


def test_modelled_and_measured_points_have_no_common_front(tmp_path):
    mixed = [*GRID[:3], record(precision="bf16", batch=8, cost=0.006, method="measured_counter")]
    runs = frame(tmp_path, *mixed)
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="word_perplexity")
    figure = draw(pareto, runs)
    assert "Pareto front" not in [line.get_label() for line in figure.axes[0].get_lines()]
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert "bf16, modelled" in labels
    assert "bf16" in labels
    assert "No front is drawn" in caption(pareto, runs, RunFiles())


def test_the_chance_of_the_front_by_hand(tmp_path):
    """Two runs of one quality and of equal energy with equal errors: each is cheaper in half of the draws."""
    runs = frame(tmp_path, record(batch=1), record(batch=8)).assign(score_relative_half_width=0.1)
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="word_perplexity", x_error="score_relative_half_width")
    chances = probabilities(pareto, runs)
    assert list(chances.values()) == pytest.approx([0.5, 0.5], abs=0.05)
    assert sum(chances.values()) == pytest.approx(1.0)
    assert "Probability of being on the front, where it is in doubt" in caption(pareto, runs, RunFiles())


def test_a_saturating_fit_states_its_floor(tmp_path):
    """Loss 2 + 30 * N^-0.5."""
    points = [record(f"m{n}", ppl=math.exp(1.0)) for n in range(3, 9)]
    for n, entry in zip(range(3, 9), points, strict=True):
        entry["model"]["num_parameters"] = 10**n
        entry["quality"]["cross_entropy_nats"] = 2 + 30 * (10**n) ** -0.5
    law = spec(kind="power-law", x="num_parameters", y="cross_entropy_nats", fit="saturating", series=("task",))
    assert "-0.500 (-0.500 to -0.500), floor 2 (2 to 2)" in caption(law, frame(tmp_path, *points), RunFiles())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "lines"}, "name missing"),
        ({"name": "a", "kind": "liness", "x": "batch_size", "y": "perplexity"}, "unknown kind liness"),
        ({"name": "a", "kind": "lines", "x": "batch_size", "y": "perplexity", "colour": "red"}, "unknown key colour"),
        ({"name": "a", "kind": "lines", "x": "batch_size", "y": "perplexity", "x_scale": "cubic"}, "x_scale=cubic"),
        ({"name": "a", "kind": "heat-map", "x": "batch_size", "y": "precision"}, "value missing"),
        ({"name": "../a", "kind": "trace"}, "not a file name"),
        ({"name": "a", "kind": "trace", "width_in": -3}, "width_in=-3"),
        ({"name": "a", "kind": "forest", "x": "batch_size"}, "batch_size has no interval"),
        ({"name": "a", "kind": "lines", "x": "batch_size", "y": "perplexity", "width_in": "wide"}, "width_in='wide'"),
    ],
)
def test_bad_entries_are_named(entry, message):
    with pytest.raises(UserError, match=message):
        checked(spec_of(entry, "list"), "list")


def test_a_figure_is_restyled_by_settings(tmp_path):
    base = spec(kind="lines", x="batch_size", y="joules_per_token")
    changed = restyled(base, ["title=Mine", "y_scale=log", "rc={lines.linewidth: 3}", "legend=none", "height_in=2"])
    figure = draw(changed, frame(tmp_path))
    assert figure.axes[0].get_title() == "Mine"
    assert figure.axes[0].get_yscale() == "log"
    assert figure.get_figheight() == 2
    assert figure.legends == []
    with pytest.raises(UserError, match="not key=value"):
        restyled(base, ["title"])
    with pytest.raises(UserError, match=r"no setting lines\.widht"):
        draw(restyled(base, ["rc={lines.widht: 3}"]), frame(tmp_path / "again"))


def test_names_are_drawn_as_they_are_written(tmp_path):
    """A dollar sign starts no formula, and markup is text."""
    names = ["a$x_1$", "<script>alert(1)</script>"]
    runs = [{**record(name, batch=b), "run_id": f"run-{n}-{b}"} for n, name in enumerate(names) for b in (1, 8)]
    study = write_study(tmp_path / "results", *runs)
    lines = spec(kind="lines", x="batch_size", y="joules_per_token", series=("model",))
    [drawn] = write_figures(collect(study), [lines], tmp_path / "out", "acl")
    svg = drawn.path.with_suffix(".svg").read_text()
    assert "a$x_1$" in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
    assert "<script" not in svg


def test_every_kind_is_documented_and_in_some_list():
    from importlib.resources import files as resources

    text = resources("harness.report").joinpath("default_figures.yaml").read_text()
    for kind in KINDS:
        assert f"#   {kind} " in text


def test_the_sidecar_names_the_runs(tmp_path):
    study = write_study(tmp_path / "results", *GRID)
    [drawn] = write_figures(
        collect(study), [spec(kind="lines", x="batch_size", y="joules_per_token")], tmp_path / "o", "acl"
    )
    assert json.loads(drawn.path.with_suffix(".json").read_text())["run_ids"] == drawn.run_ids
    assert {WINDOWS, POWER, REQUESTS} == {"windows", "power", "requests"}


def test_unlike_studies_and_machines_are_no_common_line_or_front(tmp_path):
    studies = [write_study(tmp_path / "results", *GRID, name=name) for name in ("a", "b")]
    collected = collect(*studies)
    lines = spec(kind="lines", x="batch_size", y="joules_per_token")
    figure = draw(lines, collected.runs)
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert sorted(labels) == ["a, bf16", "a, fp32", "b, bf16", "b, fp32"]
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="bits_per_byte")
    assert "No front is drawn" in caption(pareto, collected.runs, RunFiles())


def test_an_unknown_error_is_not_an_error_of_zero(tmp_path):
    runs = frame(tmp_path, record(batch=1), record(batch=8)).assign(score_relative_half_width=[0.1, math.nan])
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="word_perplexity", x_error="score_relative_half_width")
    assert probabilities(pareto, runs) == {}


def test_what_a_wall_meter_sees_holds_the_other_components(tmp_path):
    runs = frame(tmp_path).iloc[:1].assign(gpu_energy_j=100.0, cpu_energy_j=50.0, node_energy_j=200.0)
    parts = parts_of(spec(kind="stacked", parts="components"), runs, RunFiles())
    assert parts.to_dict("records") == [{"gpu": 100.0, "cpu": 50.0, "rest of the node": 50.0}]


def test_a_curve_without_energy_is_left_out(tmp_path):
    study = write_study(tmp_path / "results", *GRID, curve=[{"step": 1, "perplexity": 9.0}])
    curves = spec(kind="curves", x="train_energy_j", y="perplexity")
    assert write_figures(collect(study), [curves], tmp_path / "out", "acl") == []


def test_runs_that_are_equally_good_have_no_front(tmp_path):
    study = write_study(tmp_path / "results", record(batch=1, cost=0.1), record(batch=8))
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="word_perplexity")
    assert write_figures(collect(study), [pareto], tmp_path / "out", "acl") == []


def test_the_picture_carries_its_caption_and_the_pdf_only_how_energy_was_obtained(tmp_path):
    study = write_study(tmp_path / "results", *GRID)
    lines = spec(kind="lines", x="batch_size", y="joules_per_token")
    [drawn] = write_figures(collect(study), [lines], tmp_path / "out", "acl")
    svg = drawn.path.with_suffix(".svg").read_text()
    assert "Energy: modelled, not measured." in svg
    assert "published" not in svg  # of the long sentence


def test_figures_of_an_earlier_list_are_removed(tmp_path):
    from harness.report.figures import remove_others

    study = write_study(tmp_path / "results", *GRID)
    lists = [[spec(name=name, kind="lines", x="batch_size", y="joules_per_token")] for name in ("old", "new")]
    for specs in lists:
        drawn = write_figures(collect(study), specs, tmp_path / "out", "acl")
    chosen = [spec(name="chosen", kind="lines", x="batch_size", y="joules_per_token")]
    write_figures(collect(study), chosen, tmp_path / "out", "acl", by_hand=True)
    (tmp_path / "out" / "mine.pdf").touch()  # not one of ours
    remove_others(tmp_path / "out", drawn)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"new", "chosen", "mine"}


def test_the_caption_names_the_interval_of_the_phase_that_has_the_bars(tmp_path):
    """Of scoring, though the main phase's is another; an older record has Student's t."""
    runs = frame(tmp_path, record(batch=1), record(batch=8)).assign(
        score_relative_half_width_by=["BCa bootstrap", None], joules_per_token_relative_half_width_by="other"
    )
    pareto = spec(kind="pareto", x="score_joules_per_byte", y="word_perplexity", x_error="score_relative_half_width")
    told = caption(pareto, runs, RunFiles())
    assert "95 % of random error (BCa bootstrap or Student's t over repeats, and" in told
