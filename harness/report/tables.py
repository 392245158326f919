"""runs, quality and energy tables: CSV and Parquet with every digit, Markdown and LaTeX for reading."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from harness.data.cache import atomic_path
from harness.metrics.registry import METRICS, Metric
from harness.report.collect import Collected
from harness.report.wording import energy_sentence, protocol_sentence

TableName = Literal["quality", "energy"]


def write_tables(collected: Collected, folder: Path) -> list[Path]:
    """Write all tables; returns the files."""
    runs = collected.runs
    written = _write_data(runs, folder / "runs")
    for name in ("quality", "energy"):
        metrics = columns_of(name, runs)
        keys = [metric.name for metric in metrics]
        written += _write_data(runs[["run_id", "status", *keys]], folder / name)
        caption = _caption(name, collected)
        written.append(_write(folder / f"{name}.md", markdown_table(runs, metrics, caption)))
        written.append(_write(folder / f"{name}.tex", latex_table(runs, metrics, caption, label=f"tab:{name}")))
    return written


def columns_of(name: TableName, runs: pd.DataFrame) -> list[Metric]:
    """The metrics that a table shows: those meant for it that at least one run has."""
    return [metric for metric in METRICS if name in metric.table and runs[metric.name].notna().any()]


def markdown_table(runs: pd.DataFrame, metrics: list[Metric], caption: str) -> str:
    """A Markdown table with its caption."""
    lines = [
        "| " + " | ".join(metric.axis for metric in metrics) + " |",
        "|" + "|".join(" --- " if _is_text(runs, metric) else " ---: " for metric in metrics) + "|",
    ]
    for _, run in _sorted(runs).iterrows():
        lines.append("| " + " | ".join(_cell(run, metric).replace("|", "\\|") for metric in metrics) + " |")
    return "\n".join([*lines, "", caption, ""])


def latex_table(runs: pd.DataFrame, metrics: list[Metric], caption: str, label: str) -> str:
    """A booktabs table with its caption."""
    alignment = "".join("l" if _is_text(runs, metric) else "r" for metric in metrics)
    body = [
        " & ".join(escape_latex(_cell(run, metric)) for metric in metrics) + r" \\"
        for _, run in _sorted(runs).iterrows()
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(escape_latex(metric.axis) for metric in metrics) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def format_value(value: object, metric: Metric) -> str:
    """A value in its printed unit; a missing one is an empty string."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, bool | str):
        return str(value)
    assert isinstance(value, int | float), f"{metric.name} is neither text nor a number"
    scaled = float(value) * metric.scale
    if scaled == int(scaled) and abs(scaled) < 10**metric.digits:
        return str(int(scaled))
    if abs(scaled) >= 10 ** (metric.digits - 1):
        return f"{scaled:.0f}"
    return f"{scaled:#.{metric.digits}g}".rstrip(".")


def _cell(run: pd.Series, metric: Metric) -> str:
    value = run[metric.name]
    return format_value(value.item() if hasattr(value, "item") else value, metric)


def _is_text(runs: pd.DataFrame, metric: Metric) -> bool:
    return any(isinstance(value, str) for value in runs[metric.name])


def _sorted(runs: pd.DataFrame) -> pd.DataFrame:
    shown = runs[runs["status"] == "ok"]
    return shown.sort_values(["task", "num_parameters", "model", "precision", "batch_size"], kind="stable")


def _caption(name: TableName, collected: Collected) -> str:
    ok = collected.runs[collected.runs["status"] == "ok"]
    missing = len(collected.runs) - len(ok)
    sentences = [
        protocol_sentence(ok),
        "Intervals of perplexity: 95 % bootstrap over the documents of the text, or the windows of a single one."
        if name == "quality"
        else energy_sentence(ok, collected.records),
        f"{missing} run(s) without a result are in runs.csv." if missing else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _write_data(frame: pd.DataFrame, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(stem.with_suffix(".csv")) as temporary:
        frame.to_csv(temporary, index=False)
    with atomic_path(stem.with_suffix(".parquet")) as temporary:
        frame.to_parquet(temporary, index=False)
    return [stem.with_suffix(".csv"), stem.with_suffix(".parquet")]


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
