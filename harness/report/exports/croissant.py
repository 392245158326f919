"""Croissant metadata (JSON-LD) of a study's tables/runs.csv: what its columns mean, and the file's size and hash.

Format: MLCommons' Croissant specification, version 1.1. What only the publisher can say (license, creator, address,
date of publication, citation) is left out, and to be added before the table is published.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from harness.metrics.registry import BY_NAME
from harness.report.exports import Study, write_text

# The context that the specification's appendix recommends.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

FILE_ID = "runs.csv"


def write(study: Study) -> list[Path]:
    """Write croissant.json; returns the file.

    Raises:
        UserError: If there is no table of these runs.
    """
    metadata = describe(study, study.tables() / "runs.csv")
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
    return [write_text(study.exports / "croissant.json", text + "\n")]


def describe(study: Study, table: Path) -> dict[str, Any]:
    """The metadata of a study's table of runs, as it will be written beside it in exports/."""
    frame, recorded = pd.read_csv(table), study.collected.runs
    fields = [_field(str(name), frame[name], recorded.get(name)) for name in frame.columns]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"joulebench-{study.name}",
        "description": f"Runs of the JouleBench study {study.name}, failed ones included: one row a run, with its "
        "cell, quality, energy, time and memory. A missing value is empty and never 0.",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "dateCreated": str(frame["started_at"].max()),
        "keywords": ["energy", "benchmark", "language models"],
        "distribution": [_file(table)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "runs",
                "name": "runs",
                "description": "One row a run.",
                "key": {"@id": "runs/run_id"},
                "field": fields,
            }
        ],
    }


def _file(table: Path) -> dict[str, Any]:
    content = table.read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": FILE_ID,
        "name": table.name,
        "contentUrl": f"../{table.parent.name}/{table.name}",
        "contentSize": f"{len(content)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _field(name: str, values: pd.Series, recorded: pd.Series | None) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"runs/{name}",
        "name": name,
        "description": _description(name),
        "dataType": _data_type(values, recorded),
        "source": {"fileObject": {"@id": FILE_ID}, "extract": {"column": name}},
    }


def _description(name: str) -> str:
    """The registry's meaning, and how the stored value becomes the printed unit."""
    metric = BY_NAME.get(name)
    if metric is None:
        return name
    factor = "" if metric.scale == 1 else f", after multiplication by {metric.scale:g}"
    return f"{metric.label}. {metric.meaning}" + (f" In {metric.unit}{factor}." if metric.unit else "")


def _data_type(values: pd.Series, recorded: pd.Series | None) -> str:
    """By what the column holds; whole numbers with gaps are read as floats, and so is a column without any value.

    A text that is empty in every run is text in the records, and nothing in the file.
    """
    if recorded is not None and any(isinstance(value, str) for value in recorded):
        return "sc:Text"
    if pd.api.types.is_bool_dtype(values):
        return "sc:Boolean"
    if pd.api.types.is_integer_dtype(values):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(values) else "sc:Text"
