"""The check names every damaged or edited file of a release, and what is wrong with it."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.maps import encode_png
from pipeline.errors import AnnotationError, CollectionError, UsageError
from pipeline.files.maps import decode_png
from pipeline.files.tars import encode_json
from pipeline.release.check import verify
from pipeline.release.check.loaders import LoaderCheck
from pipeline.release.check.rows import misjudged
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from tests.pipeline.make import LICENSES, make_collection, make_config, make_key, write_annotations
from tests.pipeline.release.editing import edit_manifest, edit_tar, make_format, make_format_2, mend_sums, mend_texts

TAR = "data/test/test-00000-of-00001.tar"
ANNOTATIONS = "annotations/test.json"


@pytest.fixture
def copy(released, tmp_path):
    """A release that the test may spoil."""
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    return folder


def problems_of(folder, *args):
    return verify_release(str(folder), *map(str, args)).problems


def said_of(folder, where):
    """What the check says about one file; nothing else may be wrong."""
    found = problems_of(folder)
    assert {problem.where for problem in found} == {where}, found
    return " | ".join(problem.what for problem in found)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def edit_json(folder, name, edit):
    document = json.loads((folder / name).read_text())
    edit(document)
    (folder / name).write_text(json.dumps(document))
    mend_sums(folder)


# Sound releases


def test_nothing_is_wrong_with_a_release(released):
    check = verify_release(str(released.folder), str(released.inputs.annotations))
    assert check.problems == ()
    assert (check.name, check.version, check.images, check.accepted) == ("sod-benchmark", "1.0.0", 10, 5)
    assert check.sha256 == hashlib.sha256((released.folder / "release.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "options",
    [
        {"embed_images": False},
        {"tar_bytes": 1},
        {"splits": ("train=0.5", "test=0.5")},
        {"min_area": 0.9},
        {"thresholds": ("border<=0.4",), "target_images": 2},
    ],
    ids=lambda options: next(iter(options)),
)
def test_nothing_is_wrong_with_releases_of_other_kinds(released, release_of, tmp_path, options):
    assert problems_of(release_of(released.inputs, tmp_path, **options).folder) == ()


# Damage


@given(st.data())
def test_any_byte_flipped_cut_or_added_names_its_file(released, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    shutil.copytree(released.folder, folder)
    path = data.draw(st.sampled_from([path for path in files_of(folder) if path.name != "release.json"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["turn", "cut", "add"]))
    if kind == "turn":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[place:]
    else:
        content.insert(place, 0)
    path.write_bytes(content)
    found = problems_of(folder)
    assert path.relative_to(folder).as_posix() in {problem.where for problem in found}
    assert all(len(problem.what) < 2000 for problem in found)


@given(st.data())
def test_a_release_json_with_other_counts_or_sums_is_never_sound(released, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    shutil.copytree(released.folder, folder)
    content = bytearray((folder / "release.json").read_bytes())
    place = data.draw(st.integers(0, content.index(b'"format"') - 1))  # counts and files; no sum covers the rest
    content[place] ^= data.draw(st.integers(1, 255))
    (folder / "release.json").write_bytes(content)
    assert problems_of(folder)


def test_one_flipped_byte_of_a_tar_is_one_problem(copy):
    content = bytearray((copy / TAR).read_bytes())
    content[700] ^= 1
    (copy / TAR).write_bytes(content)
    assert len(problems_of(copy)) == 1
    assert "release.json states" in said_of(copy, TAR)


def test_missing_files_and_unlisted_files_are_named(copy):
    (copy / TAR).unlink()
    (copy / "data" / "test" / "more.tar").write_bytes(b"")
    (copy / ".hidden").write_bytes(b"")
    said = {problem.where: problem.what for problem in problems_of(copy)}
    assert "is missing, or not a plain file" in said[TAR]
    assert "exists, but release.json does not name it" in said["data/test/more.tar"]
    assert "exists, but release.json does not name it" in said[".hidden"]


def test_a_folder_without_a_release_is_a_wrong_request(tmp_path):
    with pytest.raises(CollectionError, match=r"not a complete release: it has no release\.json"):
        verify_release(str(tmp_path))


def test_a_release_that_does_not_exist_is_named(tmp_path):
    for missing in (str(tmp_path / "nowhere"), "memory://verify-nowhere"):
        with pytest.raises(CollectionError, match="nowhere does not exist"):
            verify_release(missing)


@pytest.mark.parametrize("content", [None, b"no JSON", b"[]", b'{"images": 3}'])
def test_unreadable_annotations_are_refused_before_the_release_is_read(released, tmp_path, told, content):
    annotations = tmp_path / "annotations.json"
    if content is not None:
        annotations.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"annotations\.json"):
        verify_release(str(released.folder), str(annotations))
    assert "reading the release" not in [stage.name for stage in told.opened]


def test_libraries_that_are_not_installed_are_named_before_the_release_is_read(released, monkeypatch, told):
    monkeypatch.setattr(verify, "missing_loaders", lambda: ["mlcroissant"])
    monkeypatch.setattr(verify, "check_with_loaders", lambda *_: LoaderCheck(problems=(), notes=()))
    verify_release(str(released.folder), loaders=True)
    assert told.lines == [
        "mlcroissant is not installed, so the release will not be loaded with it: pip install mlcroissant"
    ]
    told.lines.clear()
    verify_release(str(released.folder))
    assert told.lines == []


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "data/../../x", "a\\b", "./NOTICE", "release.json"])
def test_a_release_json_that_names_files_elsewhere_is_not_followed(copy, name):
    (copy.parent / "outside").write_bytes(b"secret")
    record = json.loads((copy / "release.json").read_text())
    record["files"].append({"name": name, "file_bytes": 6, "sha256": "0" * 64})
    (copy / "release.json").write_text(json.dumps(record))
    assert f"names a file {name!r}" in " ".join(problem.what for problem in problems_of(copy))


def test_an_entry_of_release_json_that_nothing_reads_is_a_problem(copy):
    edit_json(copy, "release.json", lambda record: record.update(note="by somebody else"))
    assert said_of(copy, "release.json") == "has ['note'], which no release has"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"files": 3}', b'{"files": [{"name": 3}]}'])
def test_a_malformed_release_json_is_a_problem(copy, content):
    (copy / "release.json").write_bytes(content)
    assert problems_of(copy)[0].where == "release.json"


# Edits whose sums were mended


def test_a_release_whose_sums_were_mended_without_an_edit_is_sound(copy):
    mend_sums(copy)
    assert problems_of(copy) == ()


def with_members(change):
    """An edit of the first sample's members."""

    def edit(samples):
        key, members = samples[0]
        return [(key, members | change(members)), *samples[1:]]

    return edit


def grey(values):
    return {"mask.png": encode_png(values.astype(np.uint8))}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (with_members(lambda members: {"jpg": b"another"}), ".jpg is not the image that was released"),
        (with_members(lambda members: grey(decode_png(members["mask.png"]) // 2)), "values other than 0 and 255"),
        (with_members(lambda members: grey(decode_png(members["mask.png"])[1:])), "mask.png: "),
        (with_members(lambda members: grey(255 - decode_png(members["mask.png"]))), "is not the region where"),
        (with_members(lambda members: {"saliency.png": b"no png"}), "saliency.png: not a PNG"),
        (with_members(lambda members: {"json": b"no json"}), "json: not a JSON object"),
        (with_members(lambda members: {"json": b"[" * 100_000}), "json: not a JSON object"),
        (with_members(lambda members: {"json": members["json"].replace(b'"members":3', b'"members":3.0')}), "members"),
        (with_members(lambda members: {"json": members["json"].replace(b'"width":', b'"width":1')}), "width is 1"),
        (lambda samples: samples[1:], "is accepted, but in no tar"),
        (lambda samples: [(make_key(1), samples[0][1]), *samples[1:]], "but has a sample"),
        (lambda samples: [(make_key(99), samples[0][1]), *samples[1:]], "is not in the manifest"),
        (lambda samples: [(key, samples[1 - n][1] if n < 2 else members) for n, (key, members) in enumerate(samples)],
         "json: image_id is"),
    ],
    ids=range(13),
)  # fmt: skip
def test_an_edited_sample_is_found_though_the_sums_are_right(copy, edit, said):
    edit_tar(copy, edit)
    assert any(said in problem.what for problem in problems_of(copy)), problems_of(copy)


def test_an_extra_member_in_one_sample_is_found(copy):
    with tarfile.open(copy / TAR, "a") as tar:
        tar.addfile(tarfile.TarInfo(f"{make_key(10)}.depth.png"), io.BytesIO())
    mend_sums(copy)
    assert "has the members" in " ".join(problem.what for problem in problems_of(copy) if problem.where == TAR)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE])
def test_links_and_folders_in_a_tar_are_found(copy, kind):
    with tarfile.open(copy / TAR, "a") as tar:
        link = tarfile.TarInfo("../../evil")
        link.type, link.linkname = kind, "/etc/passwd"
        tar.addfile(link)
    mend_sums(copy)
    assert "is not a plain file" in " ".join(problem.what for problem in problems_of(copy) if problem.where == TAR)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda document: document["annotations"][0].update(area=1), "area 1"),
        (lambda document: document["annotations"][0].update(bbox=[0, 0, 1, 1]), "bbox [0, 0, 1, 1]"),
        (lambda document: document["annotations"][0]["segmentation"].update(counts="01"), "run lengths"),
        (lambda document: document["annotations"][0]["segmentation"].update(size=[1, 1]), "has the size [1, 1]"),
        (lambda document: document["images"][0].update(file_name="x.jpg"), "file_name is 'x.jpg', not '0000"),
        (lambda document: document["images"][0].update(collection_file_name="x.jpg"), "its name, size or licence"),
        (lambda document: document["annotations"][0].update(id=0), "its annotations have the ids [0, 2, 3] …, not 1"),
        (lambda document: document["images"].append(document["images"][0]), "twice"),
        (lambda document: document["annotations"].pop(), "image 10, for example"),
        (lambda document: document.pop("images"), "is malformed"),
    ],
    ids=range(10),
)
def test_edited_annotations_are_found(copy, edit, said):
    edit_json(copy, ANNOTATIONS, edit)
    assert said in said_of(copy, ANNOTATIONS)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda rows: rows.pop(0), "release.json states"),
        (lambda rows: rows.append(rows[0]), "has keys more than once: 1, for example"),
        (lambda rows: rows[1].update(mask_sha256="0" * 64), "the SHA-256 of its mask"),
        (lambda rows: rows[1].update(split="train"), "has split 'train'"),
        (lambda rows: rows[0].update(reason=""), "has no reason"),
        (lambda rows: rows[0].update(verdict="failed"), "release.json states"),
    ],
    ids=range(6),
)
def test_an_edited_manifest_is_found(copy, edit, said):
    edit_manifest(copy, edit)
    found = [problem for problem in problems_of(copy) if problem.where == "manifest.parquet"]
    assert any(said in problem.what for problem in found), found


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("name", "value"), [("pairwise_iou", 1.1), ("ensemble_variance", -0.1), ("stability", float("nan"))]
)
def test_a_score_that_no_image_can_have_is_found(copy, number, name, value):
    edit_manifest(copy, lambda rows: rows[number - 1].update({name: value}))
    found = [problem.what for problem in problems_of(copy) if problem.where == "manifest.parquet"]
    assert f"{make_key(number)}: {name} is {value!r}, which it can't be" in found


def test_a_score_improved_in_the_manifest_alone_is_found(copy):
    edit_manifest(copy, lambda rows: rows[1].update(ensemble_variance=0.0))
    assert "ensemble_variance is" in said_of(copy, TAR)


def test_missing_columns_are_found(copy):
    table = pq.read_table(copy / "manifest.parquet").drop_columns(["reason"])
    pq.write_table(table, copy / "manifest.parquet")
    mend_sums(copy)
    assert "columns" in next(found.what for found in problems_of(copy) if found.where == "manifest.parquet")


def test_edited_licences_are_found(copy):
    lines = list(csv.reader(io.StringIO((copy / "licenses.csv").read_text())))
    lines[2][4] = "public domain"
    with (copy / "licenses.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    mend_sums(copy)
    assert make_key(2) in said_of(copy, "licenses.csv")


@pytest.mark.parametrize("card", ["# no front matter\n", "---\n: [\n---\n", "---\nconfigs: 3\n---\n"])
def test_a_card_that_no_loader_understands_is_found(copy, card):
    (copy / "README.md").write_text(card)
    mend_sums(copy)
    said_of(copy, "README.md")


def test_a_card_that_loads_other_files_is_found(copy):
    card = (copy / "README.md").read_text().replace("data/test/*.tar", "data/*.tar")
    (copy / "README.md").write_text(card)
    mend_sums(copy)
    assert "loads ['data/*.tar']" in said_of(copy, "README.md")


def test_an_index_with_another_count_is_found(copy):
    edit_json(copy, "data/test/index.json", lambda index: index["shardlist"][0].update(nsamples=4))
    assert "numbers of samples" in said_of(copy, "data/test/index.json")


# Hostile releases


def add_entry(folder, **entry):
    record = json.loads((folder / "release.json").read_text())
    record["files"].append({"name": "data/test/x", "file_bytes": 1, "sha256": "0" * 64} | entry)
    (folder / "release.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "entry",
    [{"name": 3}, {"name": "a\0b"}, {"name": "\ud800.tar"}, {"name": "a" * 300}, {"name": "README.md/a/b.txt"},
     {"name": ".hidden"}, {"name": "NOTICE"}, {"sha256": "\ud800"}, {"sha256": "0"}, {"file_bytes": "1"},
     {"file_bytes": None}, {"name": "x.tar"}, {"name": "data/test/load.py"}],
    ids=range(13),
)  # fmt: skip
def test_a_file_entry_that_no_release_has_is_a_problem(copy, entry):
    add_entry(copy, **entry)
    found = problems_of(copy)
    assert found
    assert all(problem.what.isprintable() for problem in found)


def test_a_file_that_no_release_has_is_a_problem_though_its_sum_is_right(copy):
    (copy / "data" / "test" / "load.py").write_bytes(b"import os")
    add_entry(copy, name="data/test/load.py")
    mend_sums(copy)
    assert said_of(copy, "data/test/load.py") == "is not a file that releases have"


@pytest.mark.parametrize(
    "name", [ANNOTATIONS, "data/test/index.json", "licenses.csv", "NOTICE", "README.md", "SHA256SUMS"]
)
def test_a_file_that_every_release_has_is_missed_though_release_json_does_not_name_it(copy, name):
    (copy / name).unlink()
    record = json.loads((copy / "release.json").read_text())
    record["files"] = [file for file in record["files"] if file["name"] != name]
    (copy / "release.json").write_text(json.dumps(record))
    found = {problem.where: problem.what for problem in problems_of(copy)}
    assert "belongs to every release" in found[name]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_folders_and_pipes_are_not_read(copy, make):
    (copy / "NOTICE").unlink()
    make(copy / "NOTICE")
    assert "is missing, or not a plain file" in said_of(copy, "NOTICE")


def sparse_tar():
    tar = tarfile.TarInfo(f"{make_key(2)}.jpg")
    tar.type, tar.size = tarfile.GNUTYPE_SPARSE, 0
    return tar.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda _: sparse_tar(), lambda tar: tar[:700]]
)
def test_compressed_sparse_and_torn_tars_are_problems(copy, pack):
    (copy / TAR).write_bytes(pack((copy / TAR).read_bytes()))
    mend_sums(copy)
    assert TAR in {problem.where for problem in problems_of(copy)}


def test_a_damaged_parquet_with_the_right_sum_is_a_problem(copy):
    content = bytearray((copy / "manifest.parquet").read_bytes())
    for place in range(4, len(content), 97):
        damaged = content.copy()
        damaged[place] ^= 0xFF
        (copy / "manifest.parquet").write_bytes(damaged)
        mend_sums(copy)
        problems_of(copy)  # nothing escapes
    (copy / "manifest.parquet").write_bytes(content[:-8])
    mend_sums(copy)
    assert "manifest.parquet" in {problem.where for problem in problems_of(copy)}


def test_cells_without_a_value_are_a_problem(copy):
    edit_manifest(copy, lambda rows: rows[0].update(key=None))
    assert "cells without a value in key" in " ".join(problem.what for problem in problems_of(copy))


@pytest.mark.parametrize(
    "change",
    [{"max_variance": 0.0}, {"min_area": 0.9}, {"thresholds": ["area<=0.005"]}],
    ids=lambda change: next(iter(change)),
)
def test_a_policy_that_selects_other_images_is_a_problem(copy, change):
    edit_json(copy, "release.json", lambda record: record["made_from"]["policy"].update(change))
    assert "under the policy its scores make it rejected" in said_of(copy, "manifest.parquet")


def test_a_release_that_claims_another_version_is_a_problem(copy):
    edit_json(copy, "release.json", lambda record: record.update(version="9.9"))
    found = {problem.where: problem.what for problem in problems_of(copy)}
    assert found.keys() == {"release.json", ANNOTATIONS}  # which name it too
    assert "its name or version differs" in found["release.json"]


def test_a_failed_image_with_scores_is_a_problem(copy):
    edit_manifest(copy, lambda rows: rows[2].update(members=3))
    assert "contradicts its scores" in said_of(copy, "manifest.parquet")


def test_a_card_with_other_numbers_is_a_problem(copy):
    card = (copy / "README.md").read_text().replace("| accepted | 5 |", "| accepted | 500 |")
    (copy / "README.md").write_text(card)
    mend_sums(copy)
    assert "does not say how many images are accepted" in said_of(copy, "README.md")


def test_an_index_with_another_sum_is_a_problem(copy):
    edit_json(copy, "data/test/index.json", lambda index: index["shardlist"][0].update(md5sum="0" * 32))
    assert "MD5" in said_of(copy, "data/test/index.json")


def test_a_split_without_images_still_has_its_files(released, release_of, tmp_path):
    made = release_of(released.inputs, tmp_path, splits=("train=0.5", "test=0.5"), min_area=0.9).folder
    (made / "annotations" / "train.json").unlink()
    record = json.loads((made / "release.json").read_text())
    record["files"] = [file for file in record["files"] if file["name"] != "annotations/train.json"]
    (made / "release.json").write_text(json.dumps(record))
    mend_sums(made)
    assert "belongs to every release" in said_of(made, "annotations/train.json")


def test_a_tar_listed_twice_in_the_index_is_a_problem(copy):
    edit_json(copy, "data/test/index.json", lambda index: index["shardlist"].append(index["shardlist"][0]))
    assert "does not list the tars" in said_of(copy, "data/test/index.json")


def test_a_licence_edited_in_the_annotations_is_found(copy):
    edit_json(copy, ANNOTATIONS, lambda document: document["licenses"][0].update(name="CC0"))
    assert "licence 1 of 000000000002 differs from the manifest's" in said_of(copy, ANNOTATIONS)


def test_an_author_other_than_the_collection_names_is_a_problem(copy, released):
    lines = list(csv.reader(io.StringIO((copy / "licenses.csv").read_text())))
    lines[1][6] = "somebody else"
    with (copy / "licenses.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    mend_sums(copy)
    assert make_key(1) in said_of(copy, "licenses.csv")
    edit_manifest(copy, lambda rows: rows[0].update(author="somebody else"))
    assert "licenses.csv" not in {problem.where for problem in problems_of(copy)}
    found = {problem.where: problem.what for problem in problems_of(copy, released.inputs.annotations)}
    assert found["manifest.parquet"] == f"{make_key(1)}: author is 'somebody else'; the annotations have ''"


def test_a_key_without_its_prefix_is_a_problem(copy):
    table = (copy / "licenses.csv").read_text()
    (copy / "licenses.csv").write_text(table.replace("key-", "", 1))
    mend_sums(copy)
    assert "does not begin with key-" in said_of(copy, "licenses.csv")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("index.html", "</main>", "<script>alert(1)</script></main>"),
        ("page/app.js", '"use strict";', '"use strict"; alert(1);'),
        ("page/data-000.js", '"verdict":[0,1,', '"verdict":[1,1,'),
        ("croissant.json", "No human has checked them", "Everything was checked"),
        (
            "README.md",
            "**No human has checked them, unless `annex/` holds a certificate.**",
            "**Two people have checked them.**",
        ),
        ("README.md", "- cc-by-4.0", "- cc0-1.0"),
        ("NOTICE", "Every image keeps the licence of its owner.", "All images are public domain."),
    ],
)
def test_texts_that_contradict_the_manifest_are_found(copy, name, old, new):
    content = (copy / name).read_text()
    assert old in content
    (copy / name).write_text(content.replace(old, new, 1))
    mend_sums(copy)
    assert "does not say what this version of the tool writes" in said_of(copy, name)


@pytest.fixture
def of_format_2(copy):
    """The release as earlier versions of the tool wrote it."""
    make_format_2(copy)
    return copy


def test_a_release_of_the_first_format_that_is_read_is_checked_too(of_format_2, released):
    assert problems_of(of_format_2, released.inputs.annotations) == ()


@pytest.mark.parametrize("number", [3, 5])
def test_a_release_of_an_earlier_format_is_checked_with_its_run_too(copy, released, number):
    make_format(copy, number)
    run = str(released.folder.parents[1])
    check = verify_release(str(copy), str(released.inputs.annotations), run=run)
    assert (check.problems, check.unchecked) == ((), ())


@pytest.mark.parametrize(
    "change", [{"sample_offset": 512}, {"sample_bytes": 1024}, {"sample_offset": 0, "sample_bytes": 0}]
)
def test_a_place_in_the_tar_that_is_not_the_samples_is_found(copy, change):
    edit_manifest(copy, lambda rows: rows[3].update(change))
    mend_texts(copy)
    assert f"{make_key(4)}: its offset and bytes are " in said_of(copy, "manifest.parquet")


def test_a_licence_that_the_release_does_not_state_is_found(copy):
    (copy / "LICENSE").write_text((copy / "LICENSE").read_text().replace("CC-BY-4.0", "CC0-1.0"))
    mend_sums(copy)
    assert "does not say what this version of the tool writes" in said_of(copy, "LICENSE")


def test_what_is_said_of_an_image_in_no_tar_is_found(copy):
    edit_manifest(copy, lambda rows: rows[0].update(released_as="original"))
    mend_texts(copy)
    assert f"{make_key(1)} is rejected, but has a sample" in said_of(copy, "manifest.parquet")


def test_what_is_said_of_images_in_a_release_of_masks_alone_is_found(released, release_of, tmp_path):
    folder = release_of(released.inputs, tmp_path, embed_images=False).folder
    assert problems_of(folder) == ()
    edit_manifest(folder, lambda rows: rows[1].update(released_as="original"))
    mend_texts(folder)
    assert "this release has masks alone" in said_of(folder, TAR)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda document: document["annotations"][0].update(id=1), "its annotations have the ids [0, 2, 3]"),
        (lambda document: document["images"][0].update(file_name="x.jpg"), "its name, size or licence differs"),
    ],
    ids=["id", "name"],
)
def test_edited_annotations_of_the_format_before_are_found(of_format_2, edit, said):
    edit_json(of_format_2, ANNOTATIONS, edit)
    mend_texts(of_format_2)
    assert said in said_of(of_format_2, ANNOTATIONS)


def test_an_edited_author_in_the_format_before_is_found_with_the_annotations(of_format_2, released):
    lines = list(csv.reader(io.StringIO((of_format_2 / "licenses.csv").read_text())))
    lines[1][6] = "somebody else"
    with (of_format_2 / "licenses.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    mend_sums(of_format_2)
    mend_texts(of_format_2)
    found = {problem.where: problem.what for problem in problems_of(of_format_2, released.inputs.annotations)}
    assert "author or source" in found["licenses.csv"]


def test_a_release_of_another_format_is_one_problem(copy):
    record = json.loads((copy / "release.json").read_text())
    (copy / "release.json").write_bytes(encode_json(record | {"format": 1}))
    assert "its format is 1, and this version of the tool reads 2 and 3 and 4" in said_of(copy, "release.json")
    assert len(problems_of(copy)) == 1


@pytest.mark.parametrize("part", ["info", "categories"])
def test_annotations_of_another_name_or_category_are_found(copy, part):
    edit_json(copy, ANNOTATIONS, lambda document: document.update({part: {"version": "1"}}))
    assert "its info or categories" in said_of(copy, ANNOTATIONS)


def test_a_sheet_of_the_wrong_size_is_found(copy):
    sheet = copy / "page/tiles/000/00000.webp"
    Image.new("RGB", (64, 64)).save(sheet, format="WEBP")
    mend_sums(copy)
    assert "is 64 x 64 px; " in said_of(copy, "page/tiles/000/00000.webp")
    sheet.write_bytes(b"RIFF")
    mend_sums(copy)
    assert "can't be read" in said_of(copy, "page/tiles/000/00000.webp")


def test_two_images_that_swapped_places_in_the_target_are_both_named(released, release_of, tmp_path):
    release = release_of(released.inputs, tmp_path, target_images=2)
    rows = {row["key"]: row for row in release.manifest()}
    assert list(misjudged(rows, release.config.policy)) == []
    chosen = next(row for row in rows.values() if row["verdict"] == "accepted")
    left_out = next(row for row in rows.values() if row["reason"] == "beyond_target")
    for name in ("verdict", "reason"):
        chosen[name], left_out[name] = left_out[name], chosen[name]
    found = " | ".join(misjudged(rows, release.config.policy))
    assert f"{chosen['key']} is rejected beyond_target" in found
    assert f"{left_out['key']} is accepted" in found


# Compared with the collection


def test_images_that_differ_from_the_collection_are_named(released, tmp_path):
    entries = [dict(entry) for entry in released.inputs.entries[:-1]]
    entries[0]["width"] += 1
    entries[1]["license"] = 9
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps({"images": entries, "licenses": LICENSES}))
    said = " | ".join(problem.what for problem in problems_of(released.folder, annotations))
    assert f"{make_key(10)} is only in the manifest" in said
    assert f"{make_key(1)}: width is 27; the annotations have 28" in said
    assert f"{make_key(2)}: license_id is 1; the annotations have 9" in said
    assert f"{make_key(2)}: license_name is 'CC BY'; the annotations have ''" in said


def test_a_release_on_an_object_store_is_checked_too(released):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in files_of(released.folder):
        memory.pipe_file(f"/verify/{path.relative_to(released.folder).as_posix()}", path.read_bytes())
    assert problems_of("memory://verify") == ()
    memory.pipe_file(f"/verify/{TAR}", b"torn")
    assert problems_of("memory://verify")[0].where == TAR


def test_what_a_table_told_is_compared_only_with_the_table(tmp_path):
    inputs = make_collection(tmp_path / "in", 3)
    write_annotations(inputs, [entry | {"license": None} for entry in inputs.entries])
    (tmp_path / "told.csv").write_text("name,license,author\n1.jpg,CC BY,Ann\n2.jpg,CC BY,Bob\n")
    table = str(tmp_path / "told.csv")
    release = run(make_config(inputs, tmp_path / "run", metadata=table)).release
    assert verify_release(release, str(inputs.annotations), metadata=table).problems == ()
    said = " | ".join(problem.what for problem in verify_release(release, str(inputs.annotations)).problems)
    assert "license_id is 1; the annotations have 0" in said
    assert "was made with other origins than" in said
    with pytest.raises(UsageError, match="only together with annotations"):
        verify_release(release, metadata=table)
    with pytest.raises(UsageError, match="a chained URL"):
        verify_release(release, str(inputs.annotations), metadata="simplecache::memory://told.csv")
