import json

import pandas as pd
import pytest

from harness.config.compose import compose_cell
from harness.data.files import local_file
from harness.errors import UserError


def documents(path, *overrides):
    config = compose_cell(["data=file", f"data.path={path}", *overrides]).config.data
    corpus = local_file(config)
    return sorted(sum((list(texts) for texts in corpus.splits.values()), []))


def test_paragraphs_of_a_text_file_are_documents(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\nline\r\n\r\n\r\ntwo\n \nthree".encode())
    assert documents(path) == ["one\nline", "three", "two"]


def test_rows_of_jsonl_and_parquet_are_documents(tmp_path):
    rows = [{"body": "one"}, {"body": "two"}]
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    table = tmp_path / "a.parquet"
    pd.DataFrame(rows).to_parquet(table)
    assert documents(lines, "data.text_column=body") == ["one", "two"]
    assert documents(table, "data.text_column=body") == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "the file is empty"),
        ("blank.txt", b" \n\n ", "holds no text"),
        ("binary.txt", b"PK\x03\x04\0\0", "the file is binary"),
        ("latin.txt", "caf\u00e9".encode("latin-1"), "not UTF-8 at byte 3"),
        ("a.csv", b"text\n", "unknown type '.csv'"),
        ("bad.jsonl", b'{"text": "a"}\n{', "line 2 is not JSON"),
        ("column.jsonl", b'{"body": "a"}', "line 1 of"),
        ("fake.parquet", b"not parquet", "not a Parquet file"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        documents(path)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        documents(tmp_path / "none.txt")
