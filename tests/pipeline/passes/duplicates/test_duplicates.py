"""Near-duplicates of a run: only earlier ones count, so growth changes no row; test sets are read wherever they lie."""

import json
import shutil
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.passes.folder import read_pass
from pipeline.passes.options import DuplicatesOptions, EmbeddingsOptions
from pipeline.run import run
from pipeline.runs.commits import committed_shards, read_shard_records
from tests.pipeline.make import make_config, make_key, tree
from tests.pipeline.passes.photos import (
    add_photos,
    embed,
    encoded,
    find_duplicates,
    make_photo,
    make_photos,
    run_of,
    score,
)

pytestmark = pytest.mark.usefixtures("fast_disk")


def rows_of(out, name="duplicates"):
    found = {}
    for path in sorted((out / "passes" / name / "scores").glob("*.parquet")):
        found |= {row["key"]: row for row in pq.read_table(path).to_pylist()}
    return found


def copies_of(photo):
    """A mirrored copy, and one that is small, grey and torn by compression."""
    small = photo[::2, ::2].mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    return [photo[:, ::-1], small]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Six pictures, then two copies of the second and one of the fifth, with both passes."""
    folder = tmp_path_factory.mktemp("compared")
    photos = [make_photo(number) for number in range(1, 7)]
    inputs = make_photos(folder / "in", [*photos, *copies_of(photos[1]), photos[4]])
    run_of(inputs, folder / "out")
    embed(folder / "out")
    find_duplicates(folder / "out")
    return inputs, folder / "out"


@pytest.fixture
def again(compared, tmp_path):
    """A copy of it to change."""
    inputs, out = compared
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(inputs.images.parent, tmp_path / "in")
    return type(inputs)(
        images=tmp_path / "in/images", annotations=tmp_path / "in/annotations.json", entries=list(inputs.entries)
    ), tmp_path / "out"


def test_later_copies_name_the_first_and_originals_name_nothing(compared):
    rows = rows_of(compared[1])
    expected = {make_key(number): None for number in range(1, 7)}
    expected |= {make_key(7): make_key(2), make_key(8): make_key(2), make_key(9): make_key(5)}
    assert {key: row["duplicate_of"] for key, row in rows.items()} == expected
    assert [rows[make_key(number)]["duplicate_similarity"] for number in (1, 7, 9)] == [0, 1, 1]
    assert 0.8 < rows[make_key(8)]["duplicate_similarity"] < 1
    assert rows[make_key(1)]["nearest_earlier"] is None


def test_a_run_that_grows_changes_no_row_and_computes_the_new_shards_only(again):
    inputs, out = again
    before = tree(out / "passes")
    add_photos(inputs, [make_photo(3), make_photo(50)])
    run(make_config(inputs, out, version="1.1.0"))
    assert embed(out).computed == 2
    assert find_duplicates(out).computed == 2
    after = tree(out / "passes")
    lost = {name for name in before if after.get(name) != before[name]}
    assert {name for name in lost if "/report/" not in name and not name.endswith("lease")} == set()
    assert rows_of(out)[make_key(10)]["duplicate_of"] == make_key(3)
    assert rows_of(out)[make_key(11)]["duplicate_of"] is None


def test_a_shard_that_changed_makes_all_later_ones_outdated_and_none_before(tmp_path):
    photos = [make_photo(number) for number in range(1, 8)]
    inputs = make_photos(tmp_path / "in", [*photos, photos[3]])  # 8 is a copy of 4, in the third shard
    whole = inputs.file(4).read_bytes()
    inputs.file(4).write_bytes(b"no image")
    run_of(inputs, tmp_path / "out")
    embed(tmp_path / "out")
    find_duplicates(tmp_path / "out")
    assert rows_of(tmp_path / "out")[make_key(8)]["duplicate_of"] is None
    inputs.file(4).write_bytes(whole)
    run(make_config(inputs, tmp_path / "out", retry_failed=True, version="1.1.0"))
    embed(tmp_path / "out")
    records = read_shard_records(str(tmp_path / "out"), sorted(committed_shards(str(tmp_path / "out"))))
    with pytest.raises(RunMismatchError, match="5 images left to score"):
        read_pass(str(tmp_path / "out"), "duplicates", records)
    assert find_duplicates(tmp_path / "out").computed == 5
    assert rows_of(tmp_path / "out")[make_key(8)]["duplicate_of"] == make_key(4)
    assert find_duplicates(tmp_path / "out").computed == 0


def test_an_image_without_a_vector_fails_and_costs_no_other(again):
    _, out = again
    for name in ("duplicates", "embeddings"):
        shutil.rmtree(out / "passes" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.passes.duplicates.embeddings.describe", _failing_at_one)
        assert embed(out, batch_images=1).failed == 1
    report = find_duplicates(out)
    (failed,) = [row for row in rows_of(out).values() if row["status"] == "failed"]
    assert (report.failed, failed["reason"]) == (1, "no_vector")


def _failing_at_one(images, encoder):
    from model.prediction import ModelOutputError
    from pipeline.passes.duplicates.embeddings import Described

    if np.array_equal(images[0], make_photo(3)):
        raise ModelOutputError("the backbone's features have NaN or infinite values")
    return [Described(vector=b"\1\0" * 64, thumbnail=b"\0" * 2048, hash="0" * 16) for _ in images]


@pytest.fixture
def test_set(tmp_path):
    """A folder of three pictures, the second mirrored from the run's fourth, and a torn one."""
    folder = tmp_path / "set"
    folder.mkdir()
    for number, pixels in enumerate([make_photo(60), make_photo(4)[:, ::-1], make_photo(61)]):
        (folder / f"tést {number}.png").write_bytes(encoded(pixels))
    (folder / "torn.png").write_bytes(encoded(make_photo(62))[:200])
    return folder


def test_images_of_test_sets_are_found_and_a_torn_one_is_named_and_costs_nothing(again, test_set, caplog):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    find_duplicates(out, f"DUTS-TE={test_set}")
    rows = rows_of(out)
    matches = {key: row["test_set_match"] for key, row in rows.items() if row["test_set_match"]}
    assert matches == {make_key(4): "DUTS-TE/tést 1.png"}
    assert rows[make_key(4)]["test_set_similarity"] == 1
    assert "DUTS-TE: 1 of 4 images can't be read: torn.png (undecodable)" in caplog.text
    assert (out / "passes/duplicates/report/duplicates.csv").read_text().count("DUTS-TE/") == 1
    stated = json.loads((out / "passes/duplicates/pass.json").read_text())["fingerprint"]
    assert stated["against DUTS-TE"].startswith("4 images, SHA-256 ")
    assert str(test_set) not in json.dumps(stated)


def test_a_moved_or_packed_test_set_is_the_same_and_is_described_once(again, test_set, tmp_path, monkeypatch):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    find_duplicates(out, f"A={test_set}")
    before = {name: content for name, content in tree(out / "passes/duplicates").items() if "scores" in name}
    shutil.rmtree(out / "passes/duplicates/scores")
    shutil.rmtree(out / "passes/duplicates/commits")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(test_set.iterdir()):
            archive.write(path, path.name)
    monkeypatch.setattr("pipeline.passes.duplicates.against.describe", None)
    find_duplicates(out, f"A={tmp_path / 'set.zip'}")
    after = {name: content for name, content in tree(out / "passes/duplicates").items() if "scores" in name}
    assert after == before


def test_a_damaged_store_of_vectors_is_made_again(again, test_set):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    find_duplicates(out, f"A={test_set}")
    before = rows_of(out)
    (stored,) = (out / "passes/duplicates/against").iterdir()
    whole = stored.read_bytes()
    for content in (whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        stored.write_bytes(content)
        shutil.rmtree(out / "passes/duplicates/scores")
        shutil.rmtree(out / "passes/duplicates/commits")
        find_duplicates(out, f"A={test_set}")
        assert rows_of(out) == before


def test_a_test_set_that_changed_is_refused_naming_both_states(again, test_set):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    find_duplicates(out, f"A={test_set}")
    (test_set / "new.png").write_bytes(encoded(make_photo(70)))
    with pytest.raises(RunMismatchError, match=r"against A: made with 4 images, .*, requested 5 images"):
        find_duplicates(out, f"A={test_set}")
    with pytest.raises(RunMismatchError, match=r"option duplicate_from: made with 0.8, requested 0.9"):
        find_duplicates(out, duplicate_from=0.9)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        (["DUTS-TE"], "give NAME=PATH"),
        (["=/x"], "give NAME=PATH"),
        (["A="], "give NAME=PATH"),
        (["A/B=/x"], "letters, digits, dots and dashes"),
        (["A=/x", "B=/y", "A=/z"], "the name A twice"),
    ],
)
def test_malformed_collections_are_refused(against, message):
    with pytest.raises(ValueError, match=message):
        DuplicatesOptions(against=tuple(against))


def test_places_without_a_usable_image_are_refused_before_the_work(again, tmp_path):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/a.png").write_bytes(b"no image")
    (tmp_path / "file.txt").write_text("no images")
    for name, message in [
        ("empty", "no files"), ("torn", "none of the 1 images in a form"), ("away", "give an existing place"),
        ("file.txt", "none of these"),
    ]:  # fmt: skip
        with pytest.raises(CollectionError, match=rf"--against A: .*{message}"):
            find_duplicates(out, f"A={tmp_path / name}")
    assert not (out / "passes" / "duplicates").exists()


def test_a_run_without_embeddings_or_with_those_of_another_encoder_is_refused(again, test_set):
    _, out = again
    shutil.rmtree(out / "passes" / "duplicates")
    with pytest.raises(ConfigError, match=r"another encoder(.|\n)*encoder: made with none, requested model"):
        score(out, "duplicates", DuplicatesOptions(against=(f"A={test_set}",)))
    shutil.rmtree(out / "passes" / "embeddings")
    with pytest.raises(ConfigError, match="--pass embeddings first"):
        find_duplicates(out)


def test_embeddings_that_were_made_anew_with_something_else_are_not_mixed_with_old_rows(again):
    _, out = again
    shutil.rmtree(out / "passes" / "embeddings")
    score(out, "embeddings", EmbeddingsOptions(encoder="none"), batch_images=7)
    with pytest.raises(RunMismatchError, match="embeddings: made with"):
        find_duplicates(out)


@pytest.mark.parametrize(("encoder_px", "message"), [(8, "from 32 to 2048"), (10**6, "from 32 to 2048")])
def test_encoders_of_impossible_sizes_are_refused(encoder_px, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingsOptions(encoder_px=encoder_px)


@pytest.mark.parametrize("limit", [0, -1, 1.5, float("nan")])
def test_impossible_thresholds_are_refused(limit):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        DuplicatesOptions(duplicate_from=limit)
