"""Tables and figures from records on disk."""

import copy
import json
import math
import re
import shutil
import subprocess
import sys
import zlib

import pandas as pd
import pytest

from harness.__main__ import main
from harness.config.compose import config_dir
from harness.errors import UserError
from harness.metrics.registry import BY_NAME, METRICS
from harness.report.collect import collect
from harness.report.columns import format_value
from harness.report.figure_lists import load_specs, restyled
from harness.report.figures import VENUES, draw, write_figures
from harness.report.spec import FigureSpec
from harness.report.tables import escape_latex
from tests.report.studies import GRID, record, write_study


@pytest.fixture
def study(tmp_path):
    return lambda *records: write_study(tmp_path / "results", *records)


def report(study, *options):
    return main(["report", study.name, "--results-dir", str(study.parent), *options])


def test_runs_csv_has_a_row_a_run_and_a_column_a_metric(study):
    folder = study(*GRID, record("broken", status="oom"))
    assert report(folder) == 0
    runs = pd.read_csv(folder / "tables" / "runs.csv")
    assert list(runs.columns) == [metric.name for metric in METRICS]
    assert len(runs) == 5
    broken = runs[runs["model"] == "broken"].iloc[0]
    assert broken["status"] == "oom"
    assert pd.isna(broken["joules_per_token"])
    assert pd.isna(broken["perplexity"])
    row = runs[runs["run_id"] == "gpt-nano-fp32-b8"].iloc[0]
    assert row["joules_per_token"] == 0.01
    assert row["cpu_energy_j"] == pytest.approx(10.0)
    assert row["flags"] == "contended_host"
    assert pd.isna(row["mfu"])


def test_every_table_in_every_form(study):
    folder = study(*GRID)
    report(folder)
    names = {path.name for path in (folder / "tables").iterdir()}
    assert names == {
        f"{table}.{form}" for table in ("quality", "energy") for form in ("csv", "parquet", "md", "tex")
    } | {
        "runs.csv",
        "runs.parquet",
    }
    energy = (folder / "tables" / "energy.md").read_text()
    assert "Energy per token (mJ/token)" in energy
    assert "| 20 |" in energy or "| 20.00 |" in energy
    assert "Energy is modelled, not measured: CPU (CPU X)" in energy
    assert "a factor of 0.25 to 1.9" in energy
    latex = (folder / "tables" / "energy.tex").read_text()
    assert r"\toprule" in latex
    assert "Energy is modelled" in latex


def test_figures_have_the_venues_width_and_no_type_3_font(study):
    folder = study(*GRID)
    for venue, width in VENUES.items():
        assert report(folder, "--venue", venue) == 0
        for path in (folder / "figures").glob("*.pdf"):
            raw = path.read_bytes()
            box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", raw)
            assert float(box[1]) / 72 == pytest.approx(width, abs=1e-3)
            streams = b"".join(_inflate(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL))
            assert b"/Type3" not in raw + streams


def _inflate(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_a_figure_holds_no_date_so_that_the_same_records_give_the_same_file(study):
    folder = study(*GRID)
    assert report(folder) == 0
    files = [*(folder / "figures").glob("*.pdf"), *(folder / "figures").glob("*.png")]
    assert len(files) >= 4
    assert not [file for file in files if b"CreationDate" in file.read_bytes() or b"tIME" in file.read_bytes()]


def test_each_figure_names_its_runs_and_where_energy_came_from(study):
    folder = study(*GRID)
    report(folder)
    figures = {path.stem for path in (folder / "figures").glob("*.pdf")}
    # The forest leaves out the run that the others are held against.
    assert figures == {
        "energy_perplexity",
        "energy_batch_size_score",
        "throughput_batch_size_score",
        "energy_ratio_score",
    }
    figures -= {"energy_ratio_score"}
    for name in figures:
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5000
        sidecar = json.loads((folder / "figures" / f"{name}.json").read_text())
        assert sidecar["run_ids"] == sorted(entry["run_id"] for entry in GRID)
        assert ("Energy is modelled" in sidecar["caption"]) == name.startswith("energy")


def test_measured_energy_is_called_measured(study):
    folder = study(*[{**entry, "summary": _measured(entry["summary"])} for entry in GRID])
    report(folder)
    assert "Energy on CPU X: measured counter (cpu)." in (folder / "tables" / "energy.md").read_text()


def _measured(summary):
    phase = {**summary["phases"]["score"], "energy_method": "measured_counter"}
    return {**summary, "phases": {"score": phase}}


def test_mixed_methods_are_not_ranked_silently(study):
    folder = study(GRID[0], {**GRID[1], "summary": _measured(GRID[1]["summary"])})
    report(folder)
    assert "must not be ranked together" in (folder / "tables" / "energy.md").read_text()


@pytest.mark.parametrize(
    "records", [GRID[:1], [record(status="failed")], [record(status="oom"), record("m", status="failed")]]
)
def test_one_run_and_all_failed_give_tables_and_no_figure(study, records, capsys):
    folder = study(*records)
    assert report(folder) == 0
    assert "none: no figure has two points" in capsys.readouterr().out
    assert len(pd.read_csv(folder / "tables" / "runs.csv")) == len(records)


def test_a_corrupt_record_is_named_and_left_out(study, capsys):
    folder = study(*GRID)
    (folder / "half").mkdir()
    (folder / "half" / "record.json").write_text('{"status": ')
    (folder / "old").mkdir()
    (folder / "old" / "record.json").write_text('{"status": "ok", "run_id": "old", "schema_version": 0}')
    assert report(folder) == 1
    printed = capsys.readouterr()
    assert "left out: half" in printed.err
    assert "left out: old: record of schema version 0" in printed.err
    assert "imported" not in printed.out
    assert len(collect(folder).runs) == 4


def test_a_study_that_is_not_there_is_named(study, tmp_path, capsys):
    study(*GRID)
    assert main(["report", "nothing", "--results-dir", str(tmp_path / "results")]) == 2
    assert "no such study" in capsys.readouterr().err
    (tmp_path / "results" / "empty").mkdir()
    assert main(["report", "empty", "--results-dir", str(tmp_path / "results")]) == 2
    assert main(["report", "s", "--results-dir", str(tmp_path / "results"), "--venue", "vogue"]) == 2


def test_report_never_imports_torch(study):
    folder = study(*GRID)
    code = f"import sys, harness.__main__ as m; m.main(['report', 's', '--results-dir', {str(folder.parent)!r}])\n"
    code += "print([name for name in ('torch', 'transformers', 'pytorch_lightning') if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "study_name", [path.name for path in (config_dir().parent / "experiments").iterdir() if path.is_dir()]
)
def test_every_figure_list_is_valid(study_name):
    assert load_specs(study_name, config_dir().parent / "experiments")


def test_a_figure_of_an_unknown_column_is_refused(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "figures.yaml").write_text("[{name: a, kind: lines, x: batch_size, y: jouls, series: [model]}]")
    with pytest.raises(UserError, match="jouls"):
        load_specs("s", tmp_path)


def test_a_user_can_draw_one_figure_from_a_data_frame(study, tmp_path):
    collected = collect(study(*GRID))
    spec = FigureSpec("mine", "lines", "batch_size", "mean_power_w", ("precision",))
    [drawn] = write_figures(collected, [spec], tmp_path / "mine", "acl-column")
    assert drawn.path.name == "mine.pdf"


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (None, "perplexity", ""), (float("nan"), "perplexity", ""), (57.5029, "perplexity", "57.50"),
        (0.0323, "joules_per_token", "32.30"), (134_515_008, "num_parameters", "134.5"), (8, "batch_size", "8"),
        (21128.4, "tokens_per_second", "21128"), (0.00012345, "mfu", "0.0001234"), ("bf16", "precision", "bf16"),
    ],
)  # fmt: skip
def test_numbers_as_printed(value, metric, text):
    assert format_value(value, BY_NAME[metric]) == text


def test_latex_is_escaped():
    assert escape_latex("50 % of a_b & {c}") == r"50 \% of a\_b \& \{c\}"


def test_ratios_by_hand(study):
    runs = collect(study(*GRID)).runs.set_index("run_id")
    assert runs.loc["gpt-nano-bf16-b8", "energy_ratio"] == 1.0
    assert runs.loc["gpt-nano-bf16-b8", "energy_ratio_ci_low"] == 1.0
    dear = runs.loc["gpt-nano-fp32-b1"]
    assert dear["energy_ratio"] == pytest.approx(0.02 / 0.006)
    spread = (0.03**2 + 0.03**2) ** 0.5
    assert dear["energy_ratio_ci_low"] == pytest.approx(0.02 / 0.006 * math.exp(-spread))
    assert dear["energy_ratio_ci_high"] == pytest.approx(0.02 / 0.006 * math.exp(spread))


def test_an_error_bar_is_that_of_the_quantity_it_stands_on(study, capsys):
    folder = study(*GRID)
    wrong = ["--figure", "energy_batch_size", "--set", "y_error=score_relative_half_width"]
    assert report(folder, *wrong) == 2
    told = capsys.readouterr().err
    assert "score_relative_half_width is not the error of joules_per_token" in told
    assert "use y_error=joules_per_token_relative_half_width" in told
    # Another column has another error, or none.
    for column, error in (("score_joules_per_byte", "score_relative_half_width"), ("mean_power_w", None)):
        [spec] = [each for each in load_specs("", folder) if each.name == "energy_batch_size"]
        assert restyled(spec, [f"y={column}"]).y_error == error


def test_tables_say_how_many_rows_are_flagged(study):
    folder = study(*GRID)
    assert report(folder) == 0
    flagged = "Flagged: contended_host (4 of 4 rows)."
    assert flagged in (folder / "tables" / "energy.md").read_text()
    assert flagged not in (folder / "tables" / "quality.md").read_text()


def of_two(entry, gpu, cpu):
    """A record of a measured GPU (5 %) and a modelled CPU (a fifth to nine fifths)."""
    entry = copy.deepcopy(entry)
    phase = entry["summary"]["phases"]["score"]
    ends = {"gpu": (0.95, 1.05), "cpu": (0.2, 1.8)}
    parts = {"gpu": gpu, "cpu": cpu}
    phase["components"] = {
        name: {
            f"joules_per_token_{end}": parts[name] * scale
            for end, scale in zip(("low", "high"), ends[name], strict=True)
        }
        for name in parts
    }
    phase |= {
        f"joules_per_token{end}": sum(parts[n] * ends[n][i] for n in parts) for i, end in enumerate(("_low", "_high"))
    }
    phase |= {"joules_per_token": gpu + cpu, "energy_components": "gpu+cpu"}
    return entry


def test_what_cancels_of_a_sum_is_each_components_own_scale(study):
    """Costs 4 + 1 and 6 + 3: the ratio is 1.8; with the CPU low and the GPU high 6.9 / 4.4, the other way 11.1 / 5.6."""
    runs = collect(study(of_two(GRID[0], 4.0, 1.0), of_two(GRID[1], 6.0, 3.0))).runs.set_index("run_id")
    dear = runs.loc["gpt-nano-fp32-b8"]
    spread = (0.03**2 + 0.03**2) ** 0.5
    assert dear["energy_ratio"] == pytest.approx(9 / 5)
    assert dear["energy_ratio_ci_low"] == pytest.approx(6.9 / 4.4 * math.exp(-spread))
    assert dear["energy_ratio_ci_high"] == pytest.approx(11.1 / 5.6 * math.exp(spread))


def test_a_run_without_an_interval_leaves_the_others_their_scales(study):
    """By hand as above: one more run, of a single repeat, has energies and no bounds."""
    single = copy.deepcopy(GRID[2])
    phase = single["summary"]["phases"]["score"]
    phase |= {"joules_per_token": 99.0, "energy_components": "gpu+cpu"}
    phase |= dict.fromkeys(("joules_per_token_low", "joules_per_token_high", "joules_per_token_relative_half_width"))
    runs = collect(study(of_two(GRID[0], 4.0, 1.0), of_two(GRID[1], 6.0, 3.0), single)).runs.set_index("run_id")
    spread = (0.03**2 + 0.03**2) ** 0.5
    assert runs.loc["gpt-nano-fp32-b8", "energy_ratio_ci_high"] == pytest.approx(11.1 / 5.6 * math.exp(spread))
    assert math.isnan(runs.loc["gpt-nano-bf16-b1", "energy_ratio"])


def test_beside_a_record_without_components_the_bounds_of_the_sums_count(study):
    """Equal costs, one told by an earlier version: what is systematic cancels as a whole, and nothing is left of it."""
    older = of_two(GRID[1], 4.0, 1.0)
    del older["summary"]["phases"]["score"]["components"]
    runs = collect(study(of_two(GRID[0], 4.0, 1.0), older)).runs.set_index("run_id")
    assert runs["energy_ratio_ci_high"].max() <= math.exp(0.03 * 2**0.5) * 1.0001


def test_runs_of_different_machines_or_methods_are_not_compared(study):
    other = record("other", cost=0.5, device_name="CPU Y")
    measured = {**record("measured", cost=0.3), "summary": _measured(record(cost=0.3)["summary"])}
    runs = collect(study(*GRID, other, measured)).runs.set_index("run_id")
    assert runs.loc["other-fp32-b1", "energy_ratio"] == 1.0
    assert runs.loc["measured-fp32-b1", "energy_ratio"] == 1.0


def trained(name, parameters, loss, energy, budget=1000):
    """A record of a training, with what the figures of trainings show."""
    entry = record(name, batch=budget)
    entry["cell"]["task"] = "train"
    entry["config"] = {"task": {"stop": {"tokens": budget}}}
    entry["model"] |= {"num_parameters": parameters, "num_parameters_non_embedding": parameters}
    entry["quality"]["cross_entropy_nats"] = loss
    entry["summary"]["training"] = {"total_energy_j": energy}
    return entry


def spec(**fields):
    return FigureSpec(**{"name": "f", "kind": "lines", "series": ("model",), **fields})


def test_a_power_law_figure_states_its_exponents_and_the_published_one(study):
    runs = [trained(f"m{n}", 10**n, 5 * (10**n) ** -0.1, n) for n in range(3, 7)]
    runs += [trained(f"m{n}", 10**n, 6 * (10**n) ** -0.2, n, budget=2000) for n in (3, 4)]  # two points are no law
    folder = study(*runs)
    law = spec(kind="power-law", x="num_parameters_non_embedding", y="cross_entropy_nats", series=("token_budget",),
               reference_exponent=-0.076, reference="Someone (2020)")  # fmt: skip
    [drawn] = write_figures(collect(folder), [law], folder / "figures", "neurips")
    caption = json.loads(drawn.path.with_suffix(".json").read_text())["caption"]
    assert "0.001 M tokens: -0.100 (-0.100 to -0.100)." in caption
    assert "0.002" not in caption
    assert "Dotted: Someone (2020) (-0.076)." in caption


def test_a_curve_figure_shows_the_runs_that_have_a_curve(study):
    runs = [trained("a", 1000, 2.0, 30.0), trained("b", 2000, 2.0, 30.0)]
    folder = study(*runs)
    curve = pd.DataFrame({"step": [1, 2], "tokens": [10, 20], "train_energy_j": [15.0, 30.0], "perplexity": [9.0, 8.0]})
    curve.to_parquet(folder / runs[0]["run_id"] / "curve.parquet")
    curves = spec(kind="curves", x="train_energy_j", y="perplexity")
    collected = collect(folder)
    [drawn] = write_figures(collected, [curves], folder / "figures", "neurips")
    sidecar = json.loads(drawn.path.with_suffix(".json").read_text())
    assert sidecar["run_ids"] == [runs[0]["run_id"]]
    assert sidecar["caption"].startswith("Validations of each run: Perplexity per token against training energy.")
    figure = draw(curves, collected.runs[:1], "", collected.files)
    [line] = figure.axes[0].get_lines()
    assert list(line.get_xdata()) == [15.0, 30.0]
    assert list(line.get_ydata()) == [9.0, 8.0]
    assert figure.axes[0].get_ylabel() == "Validation: Perplexity per token"


def test_the_front_of_a_score_that_is_better_when_larger(study):
    runs = [trained(name, 1000, 2.0, energy) for name, energy in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    for run, bleu in zip(runs, (10.0, 5.0, 20.0), strict=True):
        run["quality"]["bleu"] = bleu
    folder = study(*runs)
    figure = draw(spec(kind="pareto", x="train_energy_j", y="bleu"), collect(folder).runs)
    [front] = [line for line in figure.axes[0].get_lines() if line.get_label() == "Pareto front"]
    assert list(front.get_ydata()) == [10.0, 20.0]


def test_the_gpu_variant_of_a_study_has_its_figures():
    experiments = config_dir().parent / "experiments"
    assert load_specs("scaling-gpu", experiments) == load_specs("scaling", experiments)


def test_bars_of_quality_are_the_ends_of_its_interval():
    import pandas as pd

    from harness.metrics.registry import BY_NAME
    from harness.report.look import interval

    runs = pd.DataFrame({"bleu": [3.0, 2.0], "bleu_ci_low": [2.5, None], "bleu_ci_high": [3.75, None]})
    below, above = interval(runs, BY_NAME["bleu"])
    assert list(below)[:1] == [0.5]
    assert list(above)[:1] == [0.75]
    assert below[1:].isna().all()  # no interval is not one of no width
    assert above[1:].isna().all()


def test_what_a_precision_loses_is_paired_window_by_window():
    """By hand: the second run loses 0.2 nats in each of two windows of 4 tokens, so 0.05 a token, whatever the windows."""
    import pandas as pd

    from harness.report.derive import SAME_TEXT, with_differences

    names = [*SAME_TEXT, "status", "run_id", "precision", "compression", "backend", "batch_size"]
    same = dict.fromkeys(SAME_TEXT, "x")
    rows = [
        {
            **same,
            "status": "ok",
            "run_id": run_id,
            "precision": precision,
            "compression": "none",
            "backend": "eager",
            "batch_size": 1,
        }
        for run_id, precision in (("a", "fp32"), ("b", "int8"), ("c", "int4"))
    ]
    nats = {"a": [3.0, 9.0], "b": [3.2, 9.2], "c": [3.0, 9.0, 1.0]}
    costs = {run_id: pd.DataFrame({"nats": values, "tokens": [4] * len(values)}) for run_id, values in nats.items()}
    found = with_differences(pd.DataFrame(rows, columns=names), costs).set_index("run_id")
    assert found.loc["b", "cross_entropy_difference"] == pytest.approx(0.05)
    assert found.loc["b", "cross_entropy_difference_ci_low"] == pytest.approx(0.05)
    assert found.loc["b", "cross_entropy_difference_ci_high"] == pytest.approx(0.05)
    assert found.loc["a", "cross_entropy_difference"] == 0  # the reference itself
    assert pd.isna(found.loc["c", "cross_entropy_difference"])  # other windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "other"], "holds runs of its own"),
        (["--figure", "energy_batch"], "not in the study's list"),
        (["--set", "title=x"], "--set without --figure"),
        (["--figure", "energy_batch_size", "--set", "rc={lines.linewidth: fat}"], "rc: "),
        (["--figure", "energy_batch_size", "--set", "name=../evil"], "not a file name"),
        (["--columns", "model,perplexty"], "Did you mean 'perplexity'?"),
        (["--figures", "nowhere.yaml"], "nowhere.yaml"),
        (["--site", "atlantis"], "atlantis"),
        (["--import", "tidy-csv=nowhere.csv"], "nowhere.csv"),
        (["--import", "papers=x"], "papers"),
    ],
)
def test_bad_options_are_one_message_and_leave_everything(study, tmp_path, capsys, options, message):
    folder = study(*GRID)
    write_study(tmp_path / "results", *GRID, name="other")
    assert report(folder, *options) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not (folder / "tables").exists()
    assert not (tmp_path / "results" / "other" / "tables").exists()


def test_one_figure_is_restyled_and_the_others_stay(study, capsys):
    folder = study(*GRID)
    assert report(folder) == 0
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "energy_batch" not in path.name
    }
    assert report(folder, "--figure", "energy_batch_size", "--set", "title=Mine", "--set", "series=precision") == 0
    assert "Mine" in (folder / "figures" / "energy_batch_size_score.svg").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_two_studies_and_a_table_of_ones_own(study, tmp_path):
    study(*GRID)
    write_study(tmp_path / "results", *GRID, name="other")
    options = [
        "--results-dir",
        str(tmp_path / "results"),
        "--to",
        "both",
        "--columns",
        "study, precision,joules_per_token",
    ]
    assert main(["report", "s", "other", *options]) == 0
    chosen = (tmp_path / "results" / "both" / "tables" / "chosen.md").read_text().splitlines()
    assert chosen[0] == "| Study | Precision | Energy per token (mJ/token) |"
    assert sum(line.startswith("| other |") for line in chosen) == 4


def test_imported_rows_stand_beside_ours(study, tmp_path):
    folder = study(*GRID)
    (tmp_path / "theirs.csv").write_text(
        "run_id,model,batch_size,joules_per_token,energy_method,task\na,m,1,0.5,wall_meter,score\n"
    )
    assert report(folder, "--import", f"tidy-csv={tmp_path}/theirs.csv") == 0
    runs = pd.read_csv(folder / "tables" / "runs.csv").set_index("run_id")
    assert runs.loc["a", "joules_per_token"] == 0.5
    assert runs.loc["a", "origin"] == "CSV, theirs.csv"
    assert runs.loc["gpt-nano-fp32-b1", "origin"] == "joulebench"


def test_a_site_adds_carbon_and_cost(study):
    """72 kJ are 0.02 kWh; the world's factors are in conf/site/world.yaml."""
    import yaml

    entry = record()
    entry["summary"]["run"] = {f"total_energy{end}_j": 72_000.0 for end in ("", "_low", "_high")}
    folder = study(entry)
    assert report(folder, "--site", "world") == 0
    site = yaml.safe_load((config_dir() / "site" / "world.yaml").read_text())
    grams = 0.02 * site["pue"]["value"] * site["carbon_intensity_g_per_kwh"]["value"]
    assert pd.read_csv(folder / "tables" / "runs.csv")["carbon_g"][0] == pytest.approx(grams)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX")
def test_tables_compile(study, tmp_path):
    folder = study(*GRID, record("odd_name & 50 %", batch=2, cost=0.005))
    assert report(folder) == 0
    names = "".join(rf"\input{{{folder}/tables/{name}}}" for name in ("quality", "energy"))
    (tmp_path / "t.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx,siunitx,etoolbox}\robustify\bfseries"
        rf"\sisetup{{detect-weight,mode=text}}\begin{{document}}{names}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
