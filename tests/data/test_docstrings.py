"""Docstrings as documents with summaries."""

import ast

import pytest

from harness.config.compose import compose_cell
from harness.data.docstrings import docstrings, split_docstring


def first(source):
    return split_docstring(ast.parse(source).body[0])


def test_the_first_line_is_the_summary_and_the_rest_the_document():
    long = "It does more. " * 40
    source = f'def f():\n    """Return what is asked for.\n\n    {long}\n    """\n'
    assert first(source) == (long.strip(), "Return what is asked for.")


@pytest.mark.parametrize(
    "text",
    [
        "Short and alone.",
        "No blank line\nbelow it." + "x" * 500,
        "Too little below it.\n\nonly this",
        "No full stop at the end\n\n" + "x" * 500,
    ],
)
def test_what_has_no_summary_and_no_description_is_left_out(text):
    assert first(f"class C:\n    {text!r}\n") is None


def test_the_standard_library_has_some_hundred_always_in_one_order():
    config = compose_cell(["task=summarisation", "data=stdlib-docstrings"]).config.data
    once, again = docstrings(config), docstrings(config)
    assert once.content_hash == again.content_hash
    assert len(once.examples) > 200
    assert all(example["summary"] not in example["document"] for example in once.examples[:50])
