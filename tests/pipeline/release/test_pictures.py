"""Second masks, trimaps and empty scenes: their rules, how a release has them, and that the check makes them again."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools.coco import COCO

from model.maps import encode_png
from pipeline.config import ClusterConfig, ReleaseConfig
from pipeline.errors import ConfigError, ReleaseExistsError
from pipeline.files.maps import decode_png, mask_of
from pipeline.files.tars import samples_of
from pipeline.passes.config import PassConfig
from pipeline.passes.mask_text import mask_to_text
from pipeline.passes.score import score_run
from pipeline.release.check.verify import verify_release
from pipeline.release.coco_json import empty_counts, encode_mask
from pipeline.release.page.tiles import LAYOUT, PANELS
from pipeline.release.pictures import NOTHING_KNOWN, Known, mask_in, pictures_from, second_mask, trimap_of
from pipeline.run import run
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import by_scores, is_empty_scene
from tests.pipeline.make import make_collection, make_key, make_scores, tree
from tests.pipeline.release.editing import edit_manifest, edit_tar, mend_sums, mend_texts

PASS = """
import numpy as np
from pipeline.passes.mask_text import mask_to_text
from pipeline.selection.columns import Text
from pipeline.selection.scores import Score

class Twofold:
    '''The second image has a second mask, its left half; the fourth and fifth are empty; the sixth fails.'''

    columns = (
        Score(name="twofold_empty", meaning="how empty, 0 to 1", worse_when="high"),
        Text(name="twofold_second_mask", meaning="the second mask"),
    )

    def score(self, sample, image, candidate):
        if sample.image_id == 6:
            return {}
        left = np.zeros(image.shape[:2], bool)
        left[:, : image.shape[1] // 2] = True
        return {
            "twofold_empty": 0.95 if sample.image_id in (4, 5) else 0.1,
            "twofold_second_mask": mask_to_text(left) if sample.image_id in (2, 4) else None,
        }
"""
STORED = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))
BOTH = ReleaseConfig(alternatives="modes", trimap=True)
EMPTY = PolicyConfig(keep_empty="twofold_empty >= 0.9")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, release_of):
    """A run of ten images with a release, of which 2, 4, 6, 8 and 10 are accepted, and a pass over it."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    inputs.file(3).write_bytes(b"no image")
    released = release_of(inputs, tmp_path_factory.mktemp("scored"))
    modules = tmp_path_factory.mktemp("modules")
    (modules / "twofold.py").write_text(PASS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(modules)
        inline = ClusterConfig(engine="inline")
        score_run(PassConfig(run=str(released.config.out), kind="twofold:Twofold", cluster=inline))
    return released


def released_with(scored, version, policy=None, **options):
    config = scored.config
    release = replace(config.release, version=version, **options)
    return Path(run(replace(config, release=release, policy=policy or config.policy)).release)


@pytest.fixture(scope="module")
def full(scored):
    """A release with everything."""
    return released_with(scored, "2.0.0", EMPTY, alternatives="twofold", trimap=True)


@pytest.fixture
def copy(full, tmp_path):
    """A copy to be changed."""
    return Path(shutil.copytree(full, tmp_path / "copy"))


def samples(folder):
    return dict(samples_of((folder / "data/test/test-00000-of-00001.tar").read_bytes()))


def rows(folder):
    return {row["key"]: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


def whats(folder, **options):
    return [problem.what for problem in verify_release(str(folder), **options).problems]


# Properties


@given(STORED)
@example(np.arange(256, dtype=np.uint8)[None])
def test_a_trimap_has_three_values_and_its_sure_parts_are_inside_and_outside_the_mask(saliency):
    trimap, mask = trimap_of(saliency, NOTHING_KNOWN), mask_of(saliency)
    assert set(np.unique(trimap)) <= {0, 128, 255}
    assert mask[trimap == 255].all()
    assert not mask[trimap == 0].any()
    assert np.array_equal(trimap == 0, saliency / 255 <= 0.2)
    assert np.array_equal(trimap == 255, saliency / 255 >= 0.8)


@given(STORED)
def test_every_picture_of_an_empty_scene_is_empty_but_its_maps(saliency):
    maps = {"saliency.png": encode_png(saliency), "variance.png": b"as it is"}
    second = mask_to_text(np.ones_like(saliency, dtype=bool))
    found = pictures_from(maps, BOTH, Known(is_empty=True, second=second))
    assert [bool(decode_png(found[name]).any()) for name in ("mask.png", "mask_2.png", "trimap.png")] == [False] * 3
    assert {name: found[name] for name in maps} == maps


@given(STORED, st.data())
def test_the_second_mask_is_that_of_the_text_or_else_the_mask(saliency, data):
    other = data.draw(arrays.arrays(np.bool_, saliency.shape))
    mask = mask_in(saliency, NOTHING_KNOWN)
    assert second_mask(mask, NOTHING_KNOWN) is mask
    assert np.array_equal(second_mask(mask, Known(second=mask_to_text(other))), other)


@given(st.integers(1, 300), st.integers(1, 300))
def test_run_lengths_of_nothing_are_those_of_cocos_tools(height, width):
    assert empty_counts(height, width) == encode_mask(np.zeros((height, width), dtype=bool)).counts


@given(st.floats(0, 1), st.floats(0, 1))
def test_an_image_is_kept_as_empty_exactly_from_the_bound_on_whatever_the_other_bounds_say(score, bound):
    policy = PolicyConfig(keep_empty=f"empty_score>={bound!r}")
    scores = make_scores(area=0.0, empty_score=score)
    assert is_empty_scene(scores, policy) == (score >= bound)
    expected = ("accepted", "") if score >= bound else ("rejected", "no_salient_object")
    verdict = by_scores(scores, policy)
    assert (verdict.decision, verdict.reason) == expected
    assert not is_empty_scene({**scores, "empty_score": None}, policy)


# Examples


def test_every_sample_has_a_second_mask_and_a_trimap(full):
    found, row = samples(full), rows(full)
    assert {key for key, one in row.items() if one["verdict"] == "accepted"} == set(found)
    assert {int(key) for key in found} == {2, 4, 5, 6, 8, 10}
    for key, members in found.items():
        assert {*members} == {"jpg", "json", "mask.png", "mask_2.png", "trimap.png", "saliency.png", "variance.png"}
        is_empty = row[key]["scene"] == "empty"
        assert is_empty == (int(key) in (4, 5))
        assert (decode_png(members["mask.png"]).any(), decode_png(members["trimap.png"]).any()) == (not is_empty,) * 2
        if int(key) != 2:
            assert members["mask_2.png"] == members["mask.png"]
    left = decode_png(found[make_key(2)]["mask_2.png"])
    half = left.shape[1] // 2
    assert left[:, :half].all()
    assert not left[:, half:].any()


def test_scenes_are_in_the_manifest_and_empty_ones_have_no_annotation(full):
    row = rows(full)
    scenes = {int(key): one["scene"] for key, one in row.items()}
    assert scenes == {
        1: "", 2: "object", 3: "", 4: "empty", 5: "empty", 6: "object", 7: "", 8: "object", 9: "", 10: "object"
    }  # fmt: skip
    coco = COCO(str(full / "annotations/test.json"))
    assert sorted(coco.getImgIds()) == [2, 4, 5, 6, 8, 10]
    assert [coco.getAnnIds(imgIds=[number]) for number in (4, 5)] == [[], []]
    assert len(coco.getAnnIds()) == 4


def test_card_and_croissant_say_what_there_is(full):
    card, croissant = (full / "README.md").read_text(), json.loads((full / "croissant.json").read_text())
    assert "Of the accepted images, 2 are scenes without a salient object" in card
    assert "- or, in place of these bounds, `twofold_empty>=0.9`" in card
    assert "`KEY.mask_2.png`" in card
    assert "`KEY.trimap.png`" in card
    assert "This release has two masks per image" in card
    assert "| `scene` | What an accepted image shows" in card
    assert "Images with twofold_empty>=0.9 were kept as scenes" in croissant["description"]
    fields = {field["@id"] for record in croissant["recordSet"] for field in record["field"]}
    assert {"images-test/mask_2", "images-test/trimap", "manifest/scene"} <= fields


def test_a_release_without_these_options_has_nothing_of_them(scored):
    plain = scored.folder
    assert "scene" not in pq.read_schema(plain / "manifest.parquet").names
    made_from = json.loads((plain / "release.json").read_text())["made_from"]
    assert {"alternatives", "trimap", "keep_empty"}.isdisjoint([*made_from, *made_from["policy"]])
    said = (plain / "README.md").read_text() + (plain / "croissant.json").read_text()
    assert not any(word in said for word in ("mask_2", "trimap", "keep_empty", "`scene`"))


def test_tars_end_where_they_were_planned_to_end(scored):
    sizes = {path: path.stat().st_size for path in scored.folder.rglob("*.tar")}
    folder = released_with(scored, "2.1.0", alternatives="twofold", trimap=True, tar_bytes=5_000)
    found = sorted((folder / "data/test").glob("*.tar"))
    assert len(found) > len(sizes)
    for path in found[:-1]:  # each ends with the sample that brings it to 5,000 bytes
        contents = list(samples_of(path.read_bytes()))
        taken = [sum(512 * (1 + -(-len(one) // 512)) for one in members.values()) for _, members in contents]
        assert sum(taken[:-1]) < 5_000 <= sum(taken)
    assert whats(folder) == []


def test_the_check_finds_nothing_wrong_and_every_loader_gets_every_picture(full, scored):
    checked = verify_release(str(full), run=scored.config.out, loaders=True)
    assert checked.problems == ()


def test_the_page_has_no_mask_for_an_empty_scene(full, scored):
    def mask_of_tile(folder, number):
        (sheet,) = (folder / "page").rglob("*.webp")
        place = [key for key, row in rows(folder).items() if row["members"]].index(make_key(number))
        pixels = np.asarray(Image.open(io.BytesIO(sheet.read_bytes())).convert("L")).astype(int)
        row, column = divmod(place, LAYOUT.columns)
        top, left = LAYOUT.panel_px * row, LAYOUT.panel_px * (LAYOUT.panels * column + PANELS.index("mask"))
        middle = LAYOUT.panel_px // 2
        return pixels[top + middle, left + 20 : left + LAYOUT.panel_px - 20]

    assert mask_of_tile(scored.folder, 4).max() > 200
    assert mask_of_tile(full, 4).max() < 30


def test_a_later_release_counts_empty_scenes_as_before_or_changed(scored, full):
    folder = released_with(scored, "3.0.0", EMPTY, alternatives="twofold", previous=str(full))
    assert (folder / "changes.csv").read_text().splitlines() == ["key,change,iou,reason"]
    folder = released_with(scored, "3.1.0", previous=str(full))
    lines = (folder / "changes.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == ["changed", "removed"]
    assert lines[0].startswith(f"key-{make_key(4)},changed,0.0")
    assert whats(folder) == []


# Faults


def replaced(name, content, number=2):
    def edit(found):
        return [(key, {**members, name: content} if key == make_key(number) else members) for key, members in found]

    return edit


def size_of(folder, number=2):
    row = rows(folder)[make_key(number)]
    return row["height"], row["width"]


@pytest.mark.parametrize(
    ("name", "number", "what"),
    [
        ("mask_2.png", 2, "mask_2.png is not the mask of the manifest's twofold_second_mask"),
        ("mask_2.png", 8, "mask_2.png is not the mask of mask.png"),
        ("trimap.png", 8, "trimap.png is not what its rule makes of saliency.png"),
        ("mask.png", 4, "mask.png is not empty, as the manifest says its scene is"),
    ],
)
def test_a_picture_that_is_not_what_its_rule_makes_is_found(copy, name, number, what):
    other = np.zeros(size_of(copy, number), np.uint8)
    other[0, 0] = 255
    edit_tar(copy, replaced(name, encode_png(other), number))
    assert f"{make_key(number)}.{what}" in whats(copy)


def test_pictures_of_other_sizes_or_values_and_missing_ones_are_found(copy, full):
    edit_tar(copy, replaced("trimap.png", encode_png(np.zeros((3, 4), np.uint8))))
    assert any("trimap.png: 4 x 3 px" in what for what in whats(copy))
    edit_tar(copy, replaced("mask_2.png", encode_png(np.full(size_of(copy), 7, np.uint8))))
    assert any("mask_2.png has values other than 0 and 255: [7]" in what for what in whats(copy))
    edit_tar(
        copy,
        lambda found: [(key, {k: v for k, v in members.items() if k != "trimap.png"}) for key, members in found],
    )
    assert any("has the members" in what for what in whats(copy))


def test_a_second_mask_of_the_manifest_that_is_none_is_found(copy):
    for text in ('{"size":[1,1],"counts":"0"}', "[" * 5000, "{}", "x"):
        edit_manifest(copy, lambda found, text=text: found[1].update(twofold_second_mask=text))
        assert any("the manifest's twofold_second_mask is no mask" in what for what in whats(copy))


@pytest.mark.parametrize("scene", ["object", "", "forest", None])
def test_another_scene_than_the_scores_give_is_found(copy, scene):
    edit_manifest(copy, lambda found: found[3].update(scene=scene))
    assert any(
        f"{make_key(4)} has the scene {scene!r}; its verdict and scores make it 'empty'" in w for w in whats(copy)
    )


def test_an_empty_scene_with_an_annotation_is_found(copy):
    path = copy / "annotations/test.json"
    document = json.loads(path.read_text())
    document["annotations"].append({**document["annotations"][0], "id": 5, "image_id": 4})
    path.write_text(json.dumps(document))
    mend_sums(copy)
    assert "image 4 has an annotation, though the manifest says that its scene is empty" in whats(copy)
    document["annotations"] = document["annotations"][1:4]
    path.write_text(json.dumps(document))
    mend_sums(copy)
    assert "image 2, for example, is not in all of images, annotations and manifest" in whats(copy)


def test_a_release_that_states_alternatives_of_no_pass_is_malformed(copy):
    path = copy / "release.json"
    stated = json.loads(path.read_text())
    stated["made_from"]["alternatives"] = "modes"
    path.write_text(json.dumps(stated))
    assert any("is malformed: KeyError" in what for what in whats(copy))


def test_texts_that_follow_from_the_options_are_compared(copy):
    mend_texts(copy)
    assert whats(copy) == []
    path = copy / "README.md"
    path.write_text(path.read_text().replace("Of the accepted images, 2 are", "Of the accepted images, 3 are"))
    mend_sums(copy)
    assert any("does not say what this version of the tool writes" in what for what in whats(copy))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alternatives": "modes"}, r"alternatives has 'modes', which is no score pass of .*there: twofold"),
        ({"policy": PolicyConfig(keep_empty="empty_score>=0.5")}, r"unknown score 'empty_score'.*--pass empty"),
        ({"policy": PolicyConfig(keep_empty="twofold_empty>=1.5")}, "twofold_empty is never above 1"),
    ],
)
def test_alternatives_and_empty_scenes_without_their_pass_are_refused_before_anything_is_written(scored, options, said):
    before = tree(scored.config.out)
    with pytest.raises(ConfigError, match=said):
        released_with(scored, "9.0.0", **options)
    assert tree(scored.config.out) == before


@pytest.mark.parametrize("text", ["empty_score<=0.5", "instance_iou>=0.5", "empty", "empty_score>=nan"])
def test_a_bound_that_can_not_tell_empty_scenes_is_refused(text):
    with pytest.raises(ValueError, match=r"keep_empty|threshold"):
        PolicyConfig(keep_empty=text)


def test_a_taken_version_with_other_pictures_is_refused(scored, full):
    with pytest.raises(ReleaseExistsError, match="trimap"):
        released_with(scored, "2.0.0", EMPTY, alternatives="twofold")
    with pytest.raises(ReleaseExistsError, match="keep_empty"):
        released_with(scored, "2.0.0", alternatives="twofold", trimap=True)
