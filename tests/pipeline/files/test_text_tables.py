"""Properties, examples and faults of reading tables of text."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.text_tables import TextTableError, read_table

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)
ROWS = st.lists(st.tuples(CELL, CELL), max_size=6)


def table(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows_of(file):
    columns, rows = read_table(file)
    return list(columns), [dict(row) for row in rows]


def refusal(file):
    with pytest.raises(TextTableError) as caught:
        rows_of(file)
    return str(caught.value)


@given(rows=ROWS, delimiter=st.sampled_from(",;\t|"), mark=st.sampled_from(["", "\ufeff"]))
def test_csv_is_read_as_it_was_written_with_any_delimiter_and_with_the_mark_of_utf_8(
    tmp_path_factory, rows, delimiter, mark
):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("url", "note"), *rows])
    assert rows_of(str(path)) == (["url", "note"], [{"url": url, "note": note} for url, note in rows])


@given(rows=ROWS)
def test_json_lines_are_read_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    expected = [{"url": url, "note": note} for url, note in rows]
    table(path, "".join(json.dumps(row) + "\n\n" for row in expected))
    assert rows_of(str(path))[1] == expected


def test_json_lines_may_lack_values_and_have_other_types(tmp_path):
    lines = [{"id": 7, "url": "a"}, {"url": None, "tags": ["x"], "ok": True}, {"late": 1.5}]
    columns, rows = rows_of(table(tmp_path / "a.ndjson", "\n".join(map(json.dumps, lines))))
    assert columns == ["id", "url", "tags", "ok", "late"]
    assert rows == [{"id": "7", "url": "a"}, {"url": "", "tags": ["x"], "ok": ""}, {"late": "1.5"}]


@given(rows=ROWS, data=st.data())
def test_a_table_that_ends_within_quotes_is_refused_and_any_other_end_is_not(tmp_path_factory, rows, data):
    """No row is taken for a part of the cell before it."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("url", "note"), *rows])
    whole = buffer.getvalue()
    content = whole[: data.draw(st.integers(len('"url","note"'), len(whole)))]
    file = table(tmp_path_factory.mktemp("csv") / "a.csv", content)
    if content.count('"') % 2:
        assert "never closed" in refusal(file)
    else:
        assert all(row["url"] == url for row, (url, _) in zip(rows_of(file)[1][:-1], rows, strict=False))


def test_rows_of_csv_may_be_short_or_blank_or_end_in_the_commas_of_spreadsheets(tmp_path):
    file = table(tmp_path / "a.csv", "url,note\na\n\nb,x,, \n")
    assert rows_of(file)[1] == [{"url": "a"}, {"url": "b", "note": "x"}]


def test_columns_without_a_name_are_those_of_spreadsheets_and_no_doubles(tmp_path):
    file = table(tmp_path / "a.csv", "url,note,,\na,x,,\n")
    assert [{name: row[name] for name in ("url", "note")} for row in rows_of(file)[1]] == [{"url": "a", "note": "x"}]


def test_names_of_columns_may_be_quoted_and_have_line_breaks(tmp_path):
    file = table(tmp_path / "a.csv", '"url";"the\nnote, if any"\na;b\n')
    assert rows_of(file) == (["url", "the\nnote, if any"], [{"url": "a", "the\nnote, if any": "b"}])


def test_cells_with_formulas_nuls_and_line_breaks_stay_what_they_are(tmp_path):
    file = table(tmp_path / "a.csv", 'url,note\n=cmd|x,"a\nb"\na\0b,+1\n')
    assert rows_of(file)[1] == [{"url": "=cmd|x", "note": "a\nb"}, {"url": "a\0b", "note": "+1"}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "url\nä\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", "url\na\n".encode("utf-16"), "not UTF-8"),
        ("a.csv", 'url,note\n1,Ann\n2,"Bob\n3,Cy\n4,Di\n', "line 3: a cell begins with a quote that is never closed"),
        ("a.csv", 'url,note\n1,"a\nb"\n2,Bob\n3,"Cy', "line 5: a cell begins with a quote that is never closed"),
        ("a.csv", 'url,"note\n1,Ann\n', "line 1: a cell begins with a quote that is never closed"),
        ("a.csv", 'url,note\n1,"Bob\n2,"Cy"\n', "line 2: text follows the quote that closes a cell"),
        ("a.csv", "url\n" + "x" * 200_000, "line 2: a cell has more than 131,072 characters"),
        ("a.csv", 'url,note\n1,"Bob\n' + "2,Cy\n" * 50_000, "line 2: a cell has more than 131,072 characters"),
        ("a.csv", "url,note\n1,Ann\n\n2,Smith, John\n", "line 4: it has more cells (3) than there are columns (2)"),
        ("a.csv", 'url,note\n1,"a\nb"\n2,Smith, John\n', "line 4: it has more cells (3) than there are columns (2)"),
        ("a.csv", "url\n" + "x" * (1 << 20), "line 2 has more than 1,048,576 characters"),
        ("a.csv", ",".join(f"c{number}" for number in range(100_000)), "it has 100,000 columns; at most 10,000"),
        ("a.csv", "url,url\n", "two columns are called 'url'"),
        ("a.jsonl", '{"url": "a"}\n{"url": "b"', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: a JSON object is needed, found list"),
        ("a.jsonl", "[" * 5000, "line 1: "),
        ("a.jsonl", json.dumps({f"c{number}": 1 for number in range(20_000)}), "it has 20,000 columns"),
    ],
)
def test_what_is_no_table_says_where(tmp_path, name, content, said):
    assert said in refusal(table(tmp_path / name, content))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_empty_file_has_no_columns(tmp_path, name):
    assert rows_of(table(tmp_path / name, b"")) == ([], [])
