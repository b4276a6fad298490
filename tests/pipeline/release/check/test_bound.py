"""Maps on the wrong images are found, and what to compare with if everything was made anew."""

import itertools
import json
import shutil

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import CollectionError, StorageError
from pipeline.files.tars import encode_json
from pipeline.release.check.release_json import parse_release_json
from pipeline.release.check.rows import unbound
from pipeline.release.check.verify import verify_release
from pipeline.release.identity import texts_digest
from pipeline.runs.binding import Bound, binding, maps_sha256
from pipeline.selection.scores import SCORES
from tests.pipeline.make import make_collection, make_key, write_annotations
from tests.pipeline.release.editing import edit_manifest, forge, make_format_2, mend_sums, mend_texts

MAPS = ("mask.png", "saliency.png", "variance.png")


@pytest.fixture(scope="module")
def alike(tmp_path_factory, release_of):
    """A release of twelve images of one size, in shards of three; the even ones are accepted."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 12)
    for entry in inputs.entries:
        entry |= {"width": 30, "height": 25}
        Image.new("RGB", (30, 25), (entry["id"] * 9,) * 3).save(inputs.images / entry["file_name"])
    write_annotations(inputs)
    return release_of(inputs, tmp_path_factory.mktemp("alike"))


@pytest.fixture
def copy(alike, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(alike.folder, folder)
    return folder


def exchange(one, other, names, *, scores):
    """An exchange of what was predicted for two images."""

    def edit(samples, rows):
        for name in names:
            samples[one][name], samples[other][name] = samples[other][name], samples[one][name]
        for name in (*SCORES, "mask_sha256") if scores else ():
            rows[one][name], rows[other][name] = rows[other][name], rows[one][name]

    return edit


PAIRS = [(make_key(one), make_key(other)) for one, other in itertools.combinations((2, 4, 6, 8), 2)]


def test_a_release_says_to_which_images_its_maps_belong(alike):
    rows = {row["key"]: row for row in alike.manifest()}
    assert all(rows[key]["maps_sha256"] == maps_sha256(members) for key, members in alike.samples().items())
    assert all(row["maps_sha256"] for row in rows.values() if row["members"])
    shards = alike.release_json()["shards"]
    assert [(shard["shard"], shard["images"]) for shard in shards] == [(f"{number:06d}", 3) for number in range(4)]
    records = [json.loads((alike.folder.parents[1] / f"commits/{number:06d}.json").read_text()) for number in range(4)]
    assert [shard["binding"] for shard in shards] == [record["binding"] for record in records]


def test_no_release_is_made_of_candidates_that_are_not_what_their_record_binds(alike, release_of, tmp_path):
    made = release_of(alike.inputs, tmp_path)
    path = tmp_path / "commits" / "000001.json"
    path.write_bytes(encode_json(json.loads(path.read_text()) | {"binding": "0" * 64}))
    with pytest.raises(StorageError, match="candidate shard 000001: its maps, images or scores are not those"):
        release_of(alike.inputs, tmp_path, version="2.0.0")
    assert [path.name for path in made.folder.parent.iterdir()] == [made.folder.name]


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize(
    ("names", "scores"), [(MAPS, True), (MAPS, False), (("variance.png",), False), (("variance.png",), True)]
)
def test_maps_on_the_wrong_images_are_found(copy, one, other, names, scores):
    forge(copy, exchange(one, other, names, scores=scores))
    said = " | ".join(problem.what for problem in verify_release(str(copy)).problems)
    for key in (one, other):
        assert f"{key}: its saliency or variance is not the one that was predicted for it" in said


def mend_rows(folder):
    """State the sums of the maps that are there now."""
    forge(
        folder,
        lambda samples, rows: [rows[key].update(maps_sha256=maps_sha256(samples[key])) for key in samples],
    )


def mend_bindings(folder):
    """Bind what is there now to each other."""
    stated = json.loads((folder / "release.json").read_text())
    rows = iter(pq.read_table(folder / "manifest.parquet").to_pylist())
    for shard in stated["shards"]:
        bound = [row for row in itertools.islice(rows, shard["images"]) if row["members"]]
        shard["binding"] = binding(
            Bound(**{name: row[name] for name in ("key", "image_sha256", "maps_sha256", "members")},
                  scores={name: row[name] for name in SCORES})
            for row in bound
        )  # fmt: skip
    (folder / "release.json").write_bytes(encode_json(stated))
    mend_sums(folder)


@pytest.mark.parametrize(("one", "other"), PAIRS[:3])
def test_an_exchange_whose_rows_were_mended_is_found_by_the_bindings(copy, one, other):
    forge(copy, exchange(one, other, MAPS, scores=True))
    mend_rows(copy)
    found = {problem.what for problem in verify_release(str(copy)).problems}
    shards = sorted({(int(key) - 1) // 3 for key in (one, other)})
    assert found == {
        f"images, maps or scores of shard {number:06d} are not those that were bound to each other when they were "
        "predicted"
        for number in shards
    }


def test_an_exchange_of_which_everything_was_mended_is_found_by_the_run(copy, alike):
    run = str(alike.folder.parents[1])
    assert verify_release(str(copy), run=run).problems == ()
    forge(copy, exchange(make_key(2), make_key(8), MAPS, scores=True))
    mend_rows(copy)
    mend_bindings(copy)
    assert verify_release(str(copy)).problems == ()  # that is why its SHA-256 is published
    said = [problem.what for problem in verify_release(str(copy), run=run).problems]
    assert said[:2] == [
        f"binds other images, maps or scores in shard {shard} than its record in {run}"
        for shard in ("000000", "000002")
    ]
    named = {what.partition(":")[0] for what in said[2:]}
    assert named == {make_key(2), make_key(8)}  # whose scores were exchanged too


@pytest.mark.parametrize("name", ["pairwise_iou", "ensemble_variance"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_false_score_that_no_map_contradicts_is_found_by_the_bindings(alike, name, number):
    rows = {row["key"]: row for row in alike.manifest()}
    shards = parse_release_json((alike.folder / "release.json").read_bytes(), print).shards
    assert list(unbound(rows, shards)) == []
    rows[make_key(number)][name] += 0.001
    (said,) = unbound(rows, shards)
    assert "shard 000000" in said


def test_a_release_without_bindings_is_checked_and_says_what_was_not(copy, alike):
    make_format_2(copy)
    for run in ("", str(alike.folder.parents[1])):
        check = verify_release(str(copy), run=run)
        assert check.problems == ()
        assert [(unchecked.where, unchecked.what) for unchecked in check.unchecked] == [
            ("manifest.parquet", "whether maps belong to their images: releases of format 2 can't tell")
        ]


@pytest.mark.parametrize(
    "shards",
    [None, 3, [], [{"shard": "000000", "images": 12, "binding": "x"}], [{"images": 12}],
     [{"shard": "000000", "images": 6, "binding": "0" * 64}] * 2],
    ids=range(6),
)  # fmt: skip
def test_a_release_of_this_format_that_binds_nothing_is_a_problem(copy, shards):
    stated = json.loads((copy / "release.json").read_text())
    (copy / "release.json").write_bytes(encode_json(stated | {"shards": shards}))
    assert stated["texts"] == texts_digest()
    assert verify_release(str(copy)).problems


NEVER_COMPARED = {("made_from", "tar_bytes"), ("without_thumbnail",), ("texts",)}
"""How the tars were cut, which photos had disappeared, and the version of the texts, which are compared themselves."""


def leaves(value, path=()):
    """Path and value of every leaf of a document, but for the list of files."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not entries:
        yield path, value
    for name, entry in entries:
        if (*path, name) != ("files",):
            yield from leaves(entry, (*path, name))


def other(value):
    if isinstance(value, (bool, list)):
        return not value
    return value * 2 + 1 if isinstance(value, (int, float)) else (value or "") + "0"


@given(st.data())
def test_every_entry_of_release_json_is_compared_with_something(alike, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("edited") / "copy"
    shutil.copytree(alike.folder, folder)
    stated = json.loads((folder / "release.json").read_text())
    path, value = data.draw(st.sampled_from([leaf for leaf in leaves(stated) if leaf[0] not in NEVER_COMPARED]))
    entry = stated
    for name in path[:-1]:
        entry = entry[name]
    entry[path[-1]] = other(value)
    (folder / "release.json").write_bytes(encode_json(stated))
    run, annotations = str(alike.folder.parents[1]), str(alike.inputs.annotations)
    assert verify_release(str(folder), annotations, run=run).problems, path


@pytest.mark.parametrize("name", ["licenses", "origins", "instances", "candidates"])
def test_digests_of_what_a_release_was_made_from_are_compared_if_that_is_given(copy, alike, name):
    run, annotations = str(alike.folder.parents[1]), str(alike.inputs.annotations)
    assert verify_release(str(copy), annotations, run=run).problems == ()
    stated = json.loads((copy / "release.json").read_text())
    stated["made_from"][name] = "0" * 64
    (copy / "release.json").write_bytes(encode_json(stated))
    (problem,) = verify_release(str(copy), annotations, run=run).problems
    assert problem.where == "release.json"
    assert f"was made {'from' if name == 'candidates' else 'with'} other {name} than " in problem.what


def test_splits_that_the_stated_shares_do_not_give_are_found(released, release_of, tmp_path):
    made = release_of(released.inputs, tmp_path, splits=("train=0.5", "test=0.5")).folder
    stated = json.loads((made / "release.json").read_text())
    stated["made_from"]["splits"] = {"train": 0.99, "test": 0.01}
    (made / "release.json").write_bytes(encode_json(stated))
    said = " | ".join(problem.what for problem in verify_release(str(made)).problems)
    assert "has split 'test'; by the shares that release.json states it belongs to 'train'" in said


@pytest.fixture(scope="module")
def with_run(released):
    return str(released.folder.parents[1])


@pytest.mark.parametrize("number", [1, 2, 3])  # rejected, accepted, failed
@pytest.mark.parametrize(
    "column",
    [
        *("detail", "image_bytes", "fewer_at_once", "image_sha256", "mask_sha256", "maps_sha256", "reason"),
        *("frame", "exif_orientation", "released_as", "released_sha256", "released_bytes"),
        *("sample_offset", "sample_bytes"),
    ],
)
def test_any_other_cell_of_a_manifest_is_found_with_the_run(released, with_run, tmp_path, number, column):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    edit_manifest(folder, lambda rows: rows[number - 1].update({column: other(rows[number - 1][column])}))
    mend_texts(folder)
    assert verify_release(str(folder), run=with_run).problems


@pytest.mark.parametrize(
    ("number", "column"), [(1, "detail"), (2, "detail"), (2, "image_bytes"), (1, "mask_sha256"), (3, "maps_sha256")]
)
def test_cells_that_contradict_their_row_are_found_without_the_run(released, tmp_path, number, column):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    edit_manifest(folder, lambda rows: rows[number - 1].update({column: other(rows[number - 1][column])}))
    mend_texts(folder)
    assert verify_release(str(folder)).problems


def test_a_run_that_does_not_exist_is_refused_before_the_release_is_read(copy, tmp_path, told):
    with pytest.raises(CollectionError, match="is not a run, or nothing of it is committed"):
        verify_release(str(copy), run=str(tmp_path))
    assert told.opened == []


def test_records_of_an_earlier_version_bind_nothing(copy, alike, tmp_path):
    for name in ("candidates", "commits"):
        shutil.copytree(alike.folder.parents[1] / name, tmp_path / "run" / name)
    path = tmp_path / "run" / "commits" / "000001.json"
    path.write_bytes(encode_json(json.loads(path.read_text()) | {"binding": ""}))
    check = verify_release(str(copy), run=str(tmp_path / "run"))
    assert check.problems == ()
    (unchecked,) = check.unchecked
    assert "1 of 4 shards (000001, for example)" in unchecked.what
