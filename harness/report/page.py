"""report.html: one file that opens anywhere, with everything about a study in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from harness import __version__
from harness.data.cache import atomic_path
from harness.metrics.registry import Metric
from harness.report.collect import Collected
from harness.report.figures import Drawn
from harness.report.findings import AXES, MARGIN, findings, glossary
from harness.report.marks import marked
from harness.report.run_details import details
from harness.report.tables import tables_of_means
from harness.report.warnings import warnings
from harness.report.wording import energy_sentence, protocol_sentence

TEMPLATES = Path(__file__).parent / "templates"
# Columns that the table begins with, where some run has them and they are not the same for all.
FIRST = (
    "status", "task", "model", "compression", "backend", "precision", "batch_size", "token_budget", "seed",
    "bits_per_byte", "perplexity", "pseudo_perplexity", "bleu", "accuracy", "pass_at_k", "rouge_l",
    "cross_entropy_difference", "joules_per_token", "joules_per_answer", "train_energy_j", "energy_to_target_j",
    "energy_ratio", "tokens_per_second", "carbon_g", "energy_method", "flags",
)  # fmt: skip
# More would not be read; the others are a click away.
MOST = 12


@dataclass(frozen=True)
class Story:
    """What the study's README says of it.

    Attributes:
        question: Its title.
        setup: What it runs, and what to expect.
    """

    question: str
    setup: list[str] = field(default_factory=list)


def story_of(study: str, experiments: Path) -> Story:
    """Title and first paragraphs of experiments/<study>/README.md; the study's name where there is none."""
    path = experiments / study.removesuffix("-gpu") / "README.md"
    if not path.is_file():
        return Story(study)
    text = path.read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    found = re.findall(r"^\*\*(What it runs|What to expect)\.\*\* (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    setup = [f"{heading}. {' '.join(body.split())}".replace("`", "") for heading, body in found]
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph) for paragraph in setup]
    return Story(title.group(1) if title else study, plain)


def write_page(
    path: Path,
    name: str,
    story: Story,
    collected: Collected,
    drawn: list[Drawn],
    site: str = "",
    margin: float = MARGIN,
) -> Path:
    """Write the page; returns its path.

    Args:
        path: Where to.
        name: Of the study.
        story: What it asks.
        collected: Its runs.
        drawn: Its figures, whose SVGs are put in.
        site: Sentence about the site's factors, where carbon and cost are shown.
        margin: Of non-inferiority, in nats a token.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    ok = collected.ok
    shown = glossary(collected.runs)
    html = environment.get_template("report.html").render(
        name=name,
        story=story,
        version=__version__,
        findings=findings(collected, margin),
        warnings=warnings(collected),
        energy=energy_sentence(ok) if len(ok) else "",
        protocol=protocol_sentence(ok),
        means=tables_of_means(collected),
        site=site,
        figures=[(each.path.stem, inline_svg(each.path.with_suffix(".svg")), each) for each in drawn],
        glossary=shown,
        table=_json(table_of(collected.runs, shown)),
        details=_json(details(collected)),
        source=lambda asset: markupsafe.Markup((TEMPLATES / asset).read_text(encoding="utf-8")),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def table_of(runs: pd.DataFrame, metrics: list[Metric]) -> dict[str, Any]:
    """Columns and rows for the page's table, in stored units; what is missing is null."""
    first = [name for name in FIRST if _worth(runs, name)][:MOST]
    ordered = sorted(metrics, key=lambda metric: first.index(metric.name) if metric.name in first else MOST)
    best = {metric.name: marked(runs, metric) for metric in metrics}
    columns = [
        {
            "name": metric.name,
            "label": metric.axis,
            "meaning": metric.meaning,
            "scale": metric.scale,
            "digits": metric.digits,
            "shown": metric.name in first,
            "values": [_plain(value) for value in runs[metric.name].tolist()],
            "best": [index for index, mark in enumerate(best[metric.name]) if mark],
        }
        for metric in ordered
    ]
    return {"runs": list(runs["run_id"]), "columns": columns}


def _worth(runs: pd.DataFrame, name: str) -> bool:
    """Whether a column tells runs apart, or is a figure."""
    known = runs[name].dropna()
    words = known.map(lambda value: isinstance(value, str)).any()
    figure = not words and name not in AXES
    return not known.empty and (len(runs) == 1 or figure or runs[name].nunique(dropna=False) > 1)


def _plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**53
        return int(value) if whole else value if math.isfinite(value) else None
    return None if value is pd.NA else value


def _json(data: Mapping[str, Any]) -> markupsafe.Markup:
    """Data for a script element, which no string inside can end."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def inline_svg(path: Path) -> markupsafe.Markup:
    """A figure's SVG element, without the prolog and the metadata of a file."""
    text = path.read_text(encoding="utf-8")
    return markupsafe.Markup(re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL))
