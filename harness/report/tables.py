"""runs, quality and energy tables: CSV and Parquet with every digit, Markdown and LaTeX for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness.data.cache import atomic_path
from harness.errors import UserError, did_you_mean
from harness.metrics.registry import BY_NAME, ENDS, METRICS, Metric
from harness.report.collect import Collected
from harness.report.columns import Column, columns_for
from harness.report.seeds import AVERAGED, is_over_seeds
from harness.report.wording import energy_sentence, flags_sentence, protocol_sentence

# Axes of every table, and the figures of a table in LaTeX, the most wanted first.
AXES = ("task", "model", "compression", "backend", "precision", "batch_size")
PAPER = (
    *("perplexity", "pseudo_perplexity", "bleu", "chrf", "accuracy", "exact_match", "rouge_l", "pass_at_k"),
    *("cross_entropy_difference", "joules_per_answer", "train_energy_j", "energy_to_target_j", "joules_per_token"),
    *("energy_ratio", "tokens_per_second", "bits_per_byte", "mean_power_w", "time_to_target_s", "word_perplexity"),
)
WIDEST = 7
BOLD = (
    "Bold: the best among runs of the same task and data (and, of energies, the same machine and method), and what "
    "cannot be told from it (95 %, Holm)."
)
# Axes that a table shows where its runs differ in them.
TELLING = (
    *("study", "origin", "data", "device_name", "seed", "token_budget", "distillation_weight", "score_context"),
    *("tokenizer", "protocol"),
)
INTERVALS = "Intervals of quality: 95 % bootstrap over the documents of the text, or the windows of a single one."
MEANS = (
    "Means over seeds ± half of the 95 % interval (Student's t over seeds); of perplexities geometric, of rates "
    "harmonic. What has no ± is the same for all seeds, has one seed, or is a rate that so few seeds do not bound."
)
SUFFIXES = (".csv", ".parquet", ".md", ".tex")
PREAMBLE = (
    r"% Needs \usepackage{booktabs,graphicx,siunitx,etoolbox} \robustify\bfseries \sisetup{detect-weight,mode=text}"
)


def write_tables(collected: Collected, folder: Path, chosen: Sequence[Metric] = ()) -> list[Path]:
    """Write all tables; returns the files.

    Args:
        collected: The runs.
        folder: Where they are written.
        chosen: Columns of one more table, `chosen`.
    """
    runs = collected.runs
    written = _write_data(runs, folder / "runs")
    tables = {name: columns_of(name, runs) for name in ("quality", "energy")}
    if chosen:
        tables["chosen"] = list(chosen)
    for name, metrics in tables.items():
        keys = [metric.name for metric in metrics]
        written += _write_data(runs[list(dict.fromkeys(["run_id", "status", *keys]))], folder / name)
        written += _write_printed(metrics, name == "chosen", collected.runs, collected, folder / name)
    return written + _write_means(collected, tables, folder)


def _write_means(collected: Collected, tables: Mapping[str, Sequence[Metric]], folder: Path) -> list[Path]:
    """The same tables of means over seeds, where cells have several; earlier ones are removed where none has."""
    means = collected.means
    written: list[Path] = []
    for name, of_runs in tables.items():
        stem = folder / f"{name}_over_seeds"
        if not is_over_seeds(means):
            for suffix in SUFFIXES:
                stem.with_suffix(suffix).unlink(missing_ok=True)
            continue
        metrics = of_means(of_runs)
        ends = [f"{metric.name}{end}" for metric in metrics for end in ENDS]
        keys = ["run_ids", *(metric.name for metric in metrics), *(end for end in ends if end in means)]
        written += _write_data(means[keys].assign(run_ids=means["run_ids"].str.join(" ")), stem)
        written += _write_printed(metrics, name == "chosen", means, collected, stem)
    return written


def tables_of_means(collected: Collected) -> list[tuple[str, list[Column], str]]:
    """Name, columns and caption of the tables of means over seeds; none where no cell has several."""
    means = collected.means
    names = ("quality", "energy") if is_over_seeds(means) else ()
    return [(name, *_printed(of_means(columns_of(name, collected.runs)), means, collected)) for name in names]


def of_means(metrics: Sequence[Metric]) -> list[Metric]:
    """A table's columns for means over seeds: with the number of seeds, and without what a run alone has."""
    own = [metric for metric in metrics if metric in AVERAGED and metric.name != "repeats"]
    return [BY_NAME["seeds"], *own]


def _write_printed(
    metrics: Sequence[Metric], chosen: bool, runs: pd.DataFrame, collected: Collected, stem: Path
) -> list[Path]:
    """A table as Markdown and LaTeX, which has as many columns as a page holds unless they were chosen."""
    columns, caption = _printed(metrics, runs, collected)
    written = [_write(stem.with_suffix(".md"), markdown_table(columns, caption))]
    columns, caption = _printed(metrics if chosen else for_paper(metrics, runs), runs, collected)
    return [*written, _write(stem.with_suffix(".tex"), latex_table(columns, caption, label=f"tab:{stem.name}"))]


def _printed(metrics: Sequence[Metric], runs: pd.DataFrame, collected: Collected) -> tuple[list[Column], str]:
    """Columns and caption of a table."""
    ordered = _sorted(runs)
    columns, shared = columns_for(ordered, metrics)
    return columns, _caption(metrics, columns, ordered, len(collected.runs) - len(collected.ok), shared)


def for_paper(metrics: Sequence[Metric], runs: pd.DataFrame) -> list[Metric]:
    """As many of a table's columns as a page holds: what tells runs apart, and of the figures those that come first."""
    ok = runs[runs["status"] == "ok"]
    known = {metric.name for metric in metrics}
    axes = [name for name in (*AXES, *TELLING) if name in known and ok[name].nunique(dropna=False) > 1]
    figures = [name for name in PAPER if name in known][: max(2, WIDEST - len(axes))]
    ends = [f"{name}{end}" for name in figures for end in ENDS]
    kept = {"seeds", *axes, *figures, *ends}
    return [metric for metric in metrics if metric.name in kept]


def metrics_named(names: Sequence[str]) -> list[Metric]:
    """Columns by name.

    Raises:
        UserError: If there is none of a name.
    """
    for name in names:
        if name not in BY_NAME:
            remedy = did_you_mean(name, BY_NAME) or "the columns are those of runs.csv"
            raise UserError(f"--columns {name}: no such column", remedy=remedy)
    return [BY_NAME[name] for name in names]


def columns_of(name: str, runs: pd.DataFrame) -> list[Metric]:
    """The metrics of a table: those meant for it that some run has, and every axis that tells runs apart."""
    ok = runs[runs["status"] == "ok"]
    telling = {axis for axis in TELLING if ok[axis].nunique(dropna=False) > 1}
    return [m for m in METRICS if m.name in telling or (name in m.table and runs[m.name].notna().any())]


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
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{{label}}}",
            r"\smallskip",
            # As wide as it is, or as the page.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{' '.join(_latex_type(column) for column in columns)}}}",
            r"\toprule",
            " & ".join(_heading(column.heading) for column in columns) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def _heading(text: str) -> str:
    """A heading with its unit, or what it is of, in a second line."""
    for mark in (" (", ", 95 %"):
        before, found, after = text.partition(mark)
        if found:
            return rf"{{\shortstack{{{escape_latex(before)}\\{escape_latex(found.strip(' ,') + after)}}}}}"
    return f"{{{escape_latex(text)}}}"


def _latex(column: Column, text: str, bold: bool) -> str:
    if not column.numeric:
        return rf"\textbf{{{escape_latex(text)}}}" if bold else escape_latex(text)
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


def _caption(metrics: Sequence[Metric], columns: Sequence[Column], ok: pd.DataFrame, missing: int, shared: str) -> str:
    energy = any("joules" in metric.name or "energy" in metric.name for metric in metrics)
    quality = any(metric.name.endswith("_ci_low") and "joules" not in metric.name for metric in metrics)
    sentences = [
        protocol_sentence(ok),
        MEANS if is_over_seeds(ok) else "",
        shared,
        INTERVALS if quality and not energy else "",
        energy_sentence(ok) if energy else "",
        flags_sentence(ok) if energy else "",
        BOLD if any(any(column.bold) for column in columns) else "",
        f"{missing} run{'s' if missing > 1 else ''} without a result: see runs.csv." if missing else "",
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
