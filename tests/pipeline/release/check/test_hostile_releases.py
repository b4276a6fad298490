"""Releases made to harm whoever checks, compares or publishes them: their files are refused by name."""

import contextlib
import io
import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.release.changes import read_earlier
from pipeline.release.check.verify import verify_release
from pipeline.release.manifest import SCHEMA
from pipeline.release.publish.report import outgoing_release
from tests.pipeline.release.editing import mend_sums

DEEP = {"list": b"[" * 100_000, "object": b'{"a":' * 100_000, "closed": b"[" * 90 + b"]" * 90, "digits": b"1" * 5000}
LAUGHS = "\n".join(
    f"{name}: &{name} [{', '.join(['x' if name == 'a' else f'*{before}'] * 9)}]"
    for before, name in zip(" abcdefghij", "abcdefghijk", strict=True)
)
"""YAML of 600 characters that stands for 31,000 million."""
few = settings(max_examples=30, deadline=None)


@pytest.fixture
def folder(released, tmp_path):
    return shutil.copytree(released.folder, tmp_path / "release")


def state(folder, name, file_bytes, sha256="0" * 64):
    """Let `release.json` state this size and sum of a file."""
    stated = json.loads((folder / "release.json").read_text())
    for file in stated["files"]:
        if file["name"] == name:
            file |= {"file_bytes": file_bytes, "sha256": sha256}
    (folder / "release.json").write_text(json.dumps(stated))


def problems(folder):
    return [(problem.where, problem.what) for problem in verify_release(str(folder)).problems]


@pytest.mark.parametrize(
    "name", ["manifest.parquet", "README.md", "licenses.csv", "annotations/test.json", "index.html"]
)
def test_a_sparse_file_of_40_gib_is_not_read(folder, name):
    os.truncate(folder / name, 40 << 30)
    state(folder, name, 40 << 30)
    assert any(where == name and "42,949,672,960 bytes; of such a file" in what for where, what in problems(folder))


def test_a_sparse_tar_of_40_gib_is_not_read(folder):
    name = next(path for path in (folder / "data").rglob("*.tar")).relative_to(folder).as_posix()
    os.truncate(folder / name, 40 << 30)
    state(folder, name, 40 << 30)
    assert any(where == name and "42,949,672,960 bytes" in what for where, what in problems(folder))


def test_a_sparse_release_json_is_not_read(folder):
    os.truncate(folder / "release.json", 40 << 30)
    for read in (verify_release, read_earlier, outgoing_release):
        with pytest.raises(PipelineError, match="42,949,672,960 bytes"):
            read(str(folder))


def repeated(field, rows):
    """A column of one value."""
    if field.nullable:
        return pa.nulls(rows, field.type)
    value = [] if pa.types.is_list(field.type) else "x" * 200 if pa.types.is_string(field.type) else 0
    return pa.repeat(pa.scalar(value).cast(field.type), rows)


@pytest.mark.parametrize("rows", [200_000, 2_000_000])
def test_a_small_manifest_of_millions_of_rows_is_refused(folder, rows):
    columns = {field.name: repeated(field, rows) for field in SCHEMA}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), buffer, compression="zstd")
    assert len(buffer.getvalue()) < 2_000_000
    (folder / "manifest.parquet").write_bytes(buffer.getvalue())
    mend_sums(folder)
    found = dict(problems(folder))["manifest.parquet"]
    assert "bytes of parquet" in found


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
def test_json_beyond_all_bounds_is_a_problem_of_its_file(folder, content):
    (folder / "annotations/test.json").write_bytes(content)
    mend_sums(folder)
    assert any(
        where == "annotations/test.json" and "is malformed: DocumentError" in what for where, what in problems(folder)
    )
    with pytest.raises(PipelineError, match="can't be read as a release"):
        read_earlier(str(folder))
    (folder / "release.json").write_bytes(content)
    assert problems(folder)[0][0] == "release.json"
    for read in (read_earlier, outgoing_release):
        with pytest.raises(PipelineError):
            read(str(folder))


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x]\nb: *a",
        LAUGHS,
        "a: " + "[" * 200_000,
        "- " * 5000,
        "a: " + "1" * 5000,
        "a: !!python/object/apply:os.system [id]",
        "a: [",
        "configs: 1",
    ],
    ids=lambda front: front[:20],
)  # fmt: skip
def test_a_card_whose_front_matter_is_more_than_plain_is_a_problem(folder, front):
    (folder / "README.md").write_text(f"---\n{front}\n---\n# x\n")
    mend_sums(folder)
    found = [what for where, what in problems(folder) if where == "README.md"]
    assert found[0].startswith("is malformed")
    assert "\n" not in found[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@few
@given(value=JSON, data=st.data())
def test_any_value_in_the_place_of_any_other_in_release_json_is_a_problem_or_changes_nothing(
    released, tmp_path_factory, value, data
):
    """Tables where texts are expected, texts where tables are, numbers of any size: never another error."""
    folder = tmp_path_factory.mktemp("changed") / "release"
    shutil.copytree(released.folder, folder, copy_function=os.link)
    stated = place = json.loads((folder / "release.json").read_text())
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    (folder / "release.json").unlink()
    (folder / "release.json").write_text(json.dumps(stated))
    verify_release(str(folder))
    for read in (read_earlier, outgoing_release):
        with contextlib.suppress(PipelineError):
            read(str(folder))
