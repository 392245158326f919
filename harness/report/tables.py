"""runs, quality and energy tables: CSV and Parquet with every digit, Markdown and LaTeX for reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.data.cache import atomic_path
from harness.errors import UserError, did_you_mean
from harness.metrics.registry import BY_NAME, METRICS, Metric
from harness.report.collect import Collected
from harness.report.columns import Column, columns_for
from harness.report.wording import energy_sentence, protocol_sentence

BOLD = (
    "Bold: the best among runs of the same task and data (and, of energies, the same machine and method), and what "
    "cannot be told from it (95 %, Holm)."
)
INTERVALS = "Intervals of quality: 95 % bootstrap over the documents of the text, or the windows of a single one."
PREAMBLE = r"% Needs \usepackage{booktabs,siunitx,etoolbox} \robustify\bfseries \sisetup{detect-weight,mode=text}"


def write_tables(collected: Collected, folder: Path, chosen: Sequence[str] = ()) -> list[Path]:
    """Write all tables; returns the files.

    Args:
        collected: The runs.
        folder: Where they are written.
        chosen: Columns of one more table, `chosen`.

    Raises:
        UserError: If a chosen column does not exist.
    """
    runs = collected.runs
    written = _write_data(runs, folder / "runs")
    tables = {name: columns_of(name, runs) for name in ("quality", "energy")}
    if chosen:
        tables["chosen"] = [_known(name) for name in chosen]
    for name, metrics in tables.items():
        keys = [metric.name for metric in metrics]
        written += _write_data(runs[list(dict.fromkeys(["run_id", "status", *keys]))], folder / name)
        columns, shared = columns_for(_sorted(runs), metrics)
        caption = _caption(metrics, columns, collected, shared)
        written.append(_write(folder / f"{name}.md", markdown_table(columns, caption)))
        written.append(_write(folder / f"{name}.tex", latex_table(columns, caption, label=f"tab:{name}")))
    return written


def _known(name: str) -> Metric:
    if name not in BY_NAME:
        raise UserError(
            f"--columns {name}: no such column", allowed=BY_NAME, remedy=did_you_mean(name, BY_NAME) or "see runs.csv"
        )
    return BY_NAME[name]


def columns_of(name: str, runs: pd.DataFrame) -> list[Metric]:
    """The metrics that a table shows: those meant for it that at least one run has."""
    return [metric for metric in METRICS if name in metric.table and runs[metric.name].notna().any()]


def markdown_table(columns: Sequence[Column], caption: str) -> str:
    """A Markdown table with its caption; what is best is bold."""
    lines = [
        "| " + " | ".join(column.heading for column in columns) + " |",
        "|" + "|".join(" ---: " if column.numeric else " --- " for column in columns) + "|",
    ]
    rows = zip(*([_markdown(*cell) for cell in _cells(column)] for column in columns), strict=True)
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows), "", caption, ""])


def _cells(column: Column) -> list[tuple[str, bool]]:
    return list(zip(column.cells, column.bold, strict=True))


def _markdown(text: str, bold: bool) -> str:
    escaped = text.replace("|", "\\|")
    return f"**{escaped}**" if bold and text else escaped


def latex_table(columns: Sequence[Column], caption: str, label: str) -> str:
    """A booktabs table with siunitx's columns, aligned at the decimal point, and its caption; what is best is bold."""
    rows = zip(*([_latex(column, *cell) for cell in _cells(column)] for column in columns), strict=True)
    return "\n".join(
        [
            PREAMBLE,
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{' '.join(_latex_type(column) for column in columns)}}}",
            r"\toprule",
            " & ".join(f"{{{escape_latex(column.heading)}}}" for column in columns) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex(column: Column, text: str, bold: bool) -> str:
    if not column.numeric:
        return escape_latex(text)
    # A missing number is an empty group, which siunitx does not read as one.
    return (r"\bfseries " if bold else "") + text if text else "{}"


def _latex_type(column: Column) -> str:
    """`l`, or siunitx's count of digits before and after the point, with a sign where one is."""
    if not column.numeric:
        return "l"
    parts = [text.partition(".") for text in column.cells if text]
    before = max((len(whole.lstrip("-")) for whole, _, _ in parts), default=1)
    after = max((len(fraction) for _, _, fraction in parts), default=0)
    sign = "-" if any(whole.startswith("-") for whole, _, _ in parts) else ""
    return f"S[table-format={sign}{before}{f'.{after}' if after else ''}]"


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def _sorted(runs: pd.DataFrame) -> pd.DataFrame:
    shown = runs[runs["status"] == "ok"]
    return shown.sort_values(["task", "num_parameters", "model", "precision", "batch_size"], kind="stable")


def _caption(metrics: Sequence[Metric], columns: Sequence[Column], collected: Collected, shared: str) -> str:
    ok = collected.ok
    missing = len(collected.runs) - len(ok)
    energy = any("joules" in metric.name or "energy" in metric.name for metric in metrics)
    quality = any(metric.name.endswith("_ci_low") and "joules" not in metric.name for metric in metrics)
    sentences = [
        protocol_sentence(ok),
        shared,
        INTERVALS if quality and not energy else "",
        energy_sentence(ok) if energy else "",
        BOLD if any(any(column.bold) for column in columns) else "",
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
