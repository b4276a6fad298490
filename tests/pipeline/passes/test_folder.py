"""`pass.json`, and whatever reads a complete pass."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError, ConfigError, RunMismatchError, StorageError
from pipeline.passes.folder import (
    PassDocument,
    check_name,
    pass_names,
    passes_of,
    read_document,
    read_pass,
)
from pipeline.passes.opening import open_pass
from pipeline.release.manifest import COLUMNS as OF_MANIFESTS
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.selection.columns import Text, owned
from pipeline.selection.scores import SCORE_TABLE, Score
from tests.pipeline.make import tree
from tests.pipeline.passes.make import copy_of, own_class, score, values_of

TEXTS = st.text(st.characters(codec="utf-8"), max_size=9)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,19}", fullmatch=True)


@st.composite
def documents(draw):
    """A document of any pass."""
    name = draw(NAMES)
    columns = draw(st.lists(NAMES, unique=True, max_size=3))
    made = [
        Score(name=column, meaning="x", lowest=draw(st.floats(-9, 0)), highest=draw(st.floats(1, 9)), worse_when="low")
        if draw(st.booleans())
        else Text(name=column, meaning="é")
        for column in columns
    ]
    texts = st.dictionaries(TEXTS, TEXTS, max_size=3)
    return name, PassDocument(kind=draw(TEXTS), fingerprint=draw(texts), columns=owned(made, name), about=draw(texts))


@given(documents())
def test_a_document_is_read_as_it_was_written_and_begun_once(tmp_path_factory, made):
    name, document = made
    run = str(tmp_path_factory.mktemp("run"))
    taken = {*SCORE_TABLE, *OF_MANIFESTS}
    if any(column.name in taken for column in document.columns):
        return
    assert open_pass(run, name, document) == document
    before = tree(run)
    assert open_pass(run, name, document) == read_document(run, name) == document
    assert tree(run) == before
    assert passes_of(run) == {name: document}
    assert pass_names(run) == [name]


@given(documents(), st.data())
def test_whatever_changes_in_a_document_changes_its_digest(made, data):
    _, document = made
    changed = data.draw(
        st.sampled_from(
            [
                replace(document, kind=document.kind + "x"),
                replace(document, fingerprint={**document.fingerprint, "more": "x"}),
                replace(document, about={**document.about, "more": "x"}),
                replace(document, columns=(*document.columns, Text(name="more_than_all_others", meaning="x"))),
            ]
        )
    )
    assert changed.digest != document.digest


@given(st.text())
def test_a_name_is_a_folder_of_its_own_or_refused(name):
    try:
        assert check_name(name) == name
    except ConfigError:
        return
    assert name.isascii()
    assert not set(name) & set("./\\ \n")
    assert 0 < len(name) <= 20


def damaged(change):
    def damage(path):
        values = json.loads(path.read_bytes())
        change(values)
        path.write_text(json.dumps(values))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"[]"),
        lambda path: path.write_bytes(b"[" * 10**6),
        damaged(lambda values: values.pop("columns")),
        damaged(lambda values: values.update(format=2)),
        damaged(lambda values: values.update(fingerprint={"a": 1})),
        damaged(lambda values: values.update(about=[])),
        damaged(lambda values: values["columns"].append(values["columns"][0])),
        damaged(lambda values: values["columns"][0].update(lowest="x")),
        damaged(lambda values: values["columns"][0].update(measure="x")),
        damaged(lambda values: values["columns"][0].update(name="../x")),
    ],
)
def test_a_damaged_document_is_named_with_what_to_do(scored, tmp_path, damage):
    run = copy_of(scored, tmp_path / "run")
    path = Path(run, "passes/brightness/pass.json")
    damage(path)
    with pytest.raises(StorageError, match=rf"{path} does not say .* Run the pass's own command again"):
        read_document(run, "brightness")


def test_columns_of_manifests_are_reserved(tmp_path):
    document = PassDocument(kind="x", fingerprint={}, columns=(), about={})
    for column in OF_MANIFESTS:
        with pytest.raises(ConfigError, match=f"every (run|manifest) has a column {column} already; give --name"):
            open_pass(str(tmp_path), "own", replace(document, columns=(Text(name=column, meaning="x"),)))


def records_of(run):
    return read_shard_records(run, sorted(committed_shards(run)))


def test_a_complete_pass_is_read_whole(scored):
    found = read_pass(scored, "brightness", records_of(scored))
    assert (found.stated.name, found.rows) == ("brightness", values_of(scored))
    assert found.stated.document == read_document(scored, "brightness")


def test_the_digest_of_a_pass_follows_from_its_rows(run, scored):
    score(run)
    assert (
        read_pass(run, "brightness", records_of(run)).stated.digest
        == read_pass(scored, "brightness", records_of(scored)).stated.digest
    )
    own_class().answers = {"000000000001": {}}
    score(run, name="other")
    other = read_pass(run, "other", records_of(run))
    assert other.stated.digest != read_pass(run, "brightness", records_of(run)).stated.digest


def test_a_pass_that_is_not_there_or_not_complete_is_refused_with_the_command(scored, tmp_path):
    run = copy_of(scored, tmp_path / "run")
    with pytest.raises(CollectionError, match=r"has no score pass flip \(there: brightness\): run sod score"):
        read_pass(run, "flip", records_of(run))
    (path,) = Path(run, "passes/brightness/commits").glob("000001*")
    path.unlink()
    command = r"run sod score .* --pass own_pass:Brightness --name brightness again"
    with pytest.raises(RunMismatchError, match=f"has 3 images left to score. To finish it, {command}"):
        read_pass(run, "brightness", records_of(run))


def test_folders_that_are_no_pass_are_passed_over(scored, tmp_path):
    run = copy_of(scored, tmp_path / "run")
    for name in ("Notes", ".hidden", "1st", "begun"):
        Path(run, "passes", name).mkdir()
    Path(run, "passes/notes.txt").write_text("mine")
    assert list(passes_of(run)) == ["brightness"]
    shutil.rmtree(Path(run, "passes"))
    assert passes_of(run) == {}
