"""CSV files: what was added is read back, no cell begins a formula, no character is obeyed."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.files.tables import CsvTable, cell
from pipeline.shown import printable
from tests.pipeline.test_shown import CONTROLS

TEXTS = st.text(st.sampled_from([*"=+-@,;\"' aé", "＝", *CONTROLS]), max_size=6) | st.text(max_size=6)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=4))
@example([["=cmd|' /C calc'!A0", "\t=1"], ["\r=1", "\n=1"], ["@SUM(A1)", "-2+3"]])
def test_every_cell_is_read_back_and_none_is_a_formula_or_has_a_control_character(rows):
    table = CsvTable(["one", "two"])
    for row in rows:
        table.add(row)
    text = table.encode().decode()
    assert not {*text.replace("\r\n", "")} & {*CONTROLS}
    header, *found = csv.reader(io.StringIO(text, newline=""))
    assert header == ["one", "two"]
    for row, cells in zip(rows, found, strict=True):
        for value, read in zip(row, cells, strict=True):
            assert not read.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert read.removeprefix("'") == printable(value).removeprefix("'")


@given(st.integers(0, 10**12) | st.text("abc 019._", min_size=1))
def test_plain_texts_and_numbers_stay_as_they_are(value):
    assert cell(value) == str(value)
