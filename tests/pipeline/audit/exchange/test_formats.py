"""Each format: what is written comes back, and what the tools themselves have written is read."""

import json

import numpy as np
import pytest
from hypothesis import given
from pycocotools.coco import COCO

from pipeline.audit.exchange import coco, cvat, label_studio
from pipeline.audit.exchange.brush_rle import encode_brush
from pipeline.passes.mask_text import rle_of
from tests.pipeline.audit.exchange.make import (
    GOLDEN,
    GOLDEN_SIZES,
    TITLED,
    answered_tasks,
    golden_mask,
    make_images,
    make_tasks,
    pixels,
    some_masks,
)


def exported(tool, tasks):
    """The file of a tool, after a rater has left everything as it was."""
    if tool == "coco":
        return coco.encode(tasks, TITLED)[coco.ANNOTATIONS]
    if tool == "cvat":
        return cvat.encode(tasks, TITLED)[cvat.ANNOTATIONS]
    return answered_tasks(label_studio.encode(tasks, TITLED, "out")[label_studio.TASKS])


READ = {"coco": coco.read, "cvat": cvat.read, "label-studio": label_studio.read}


@pytest.mark.parametrize("tool", READ)
@given(drawn=some_masks)
def test_every_mask_comes_back_as_it_was_without_a_verdict(tool, drawn):
    tasks, images = make_tasks(drawn)
    found = READ[tool](exported(tool, tasks), images)
    assert found.has_verdicts
    assert [(one.key, one.says, one.is_exact) for one in found.given] == [(task.key, "", True) for task in tasks]
    for one, mask in zip(found.given, drawn, strict=True):
        assert (pixels(one.mask, mask.shape) == mask).all()


@given(drawn=some_masks)
def test_cvats_run_lengths_add_up_to_their_rectangle(drawn):
    """CVAT imports others, and can then export nothing: its issue 9460."""
    tasks, _ = make_tasks(drawn)
    found = cvat.elements(exported("cvat", tasks), root="annotations", of=("image",), most_bytes=1 << 20)
    rectangles = [attributes for image in found for _, attributes in image.inside]
    assert len(rectangles) == sum(bool(mask.any()) for mask in drawn)
    for one in rectangles:
        runs = [int(run) for run in one["rle"].split(",")]
        assert sum(runs) == int(one["width"]) * int(one["height"])
        assert all(runs[1:])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_pycocotools_loads_the_export_and_draws_the_same_masks(tmp_path, capsys):
    drawn = [golden_mask(number) for number in (1, 2, 3)]
    tasks, _ = make_tasks(drawn)
    (tmp_path / "coco.json").write_bytes(exported("coco", tasks))
    loaded = COCO(str(tmp_path / "coco.json"))
    capsys.readouterr()
    for number, mask in enumerate(drawn, start=1):
        (annotation,) = loaded.loadAnns(loaded.getAnnIds([number]))
        assert (loaded.annToMask(annotation) == mask).all()
        assert annotation["area"] == mask.sum()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("coco_datumaro.json", ["fix", "right", ""]),
        ("cvat_datumaro.xml", ["fix", "right", ""]),
        ("cvat_sdk.xml", ["fix", "fix", "fix"]),
        ("label_studio_sdk.json", ["fix", "right", ""]),
        ("label_studio_page.json", ["fix", "fix", "fix"]),
    ],
)
def test_what_the_tools_own_code_has_written_is_read_pixel_by_pixel(name, says):
    read = next(read for tool, read in READ.items() if name.startswith(tool.replace("-", "_")))
    found = read((GOLDEN / name).read_bytes(), make_images(GOLDEN_SIZES)).given
    assert [one.key for one in found] == list(GOLDEN_SIZES)
    assert [one.says for one in found] == says
    for number, one in enumerate(found, start=1):
        mask = golden_mask(number)
        if name == "cvat_sdk.xml":  # there it has a margin, so that its rectangle is not the whole image
            mask[[0, -1]] = mask[:, [0, 1, -1]] = False
        assert (pixels(one.mask, mask.shape) == mask).all()


def test_label_studio_tells_how_long_and_when():
    found = label_studio.read((GOLDEN / "label_studio_sdk.json").read_bytes(), make_images(GOLDEN_SIZES)).given
    assert [(one.seconds, one.answered) for one in found][:2] == [
        (12.5, "2026-11-26T12:00:01.123456Z"),
        (25.0, "2026-11-26T12:00:02.123456Z"),
    ]


SIZES = {"000000000001": (2, 2)}


def coco_file(entry=(), annotations=(), **more):
    image = {"id": 1, "file_name": "000000000001.jpg", "height": 2, "width": 2, **dict(entry)}
    document = {"images": [image], "annotations": [{"image_id": 1, "category_id": 1, **one} for one in annotations]}
    return json.dumps(document | {"categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "skip"}]} | more)


def rle(*rows):
    return dict(rle_of(np.array(rows, np.bool_)))


def test_several_annotations_of_an_image_are_one_mask():
    content = coco_file(annotations=[{"segmentation": rle([1, 0], [0, 0])}, {"segmentation": rle([0, 0], [0, 1])}])
    (found,) = coco.read(content.encode(), make_images(SIZES)).given
    assert pixels(found.mask, (2, 2)).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("entry", "annotations", "says"),
    [
        ({"verdict": "nothing_salient"}, [], "nothing_salient"),
        ({}, [{"category_id": 2}], "skip"),
        ({}, [{"category_id": 2, "segmentation": rle([1, 0], [0, 0])}], "skip"),
        ({}, [{"attributes": {"verdict": "right"}, "segmentation": rle([1, 0], [0, 0])}], "right"),
        ({"verdict": "skip"}, [{"category_id": 2}], "skip"),
        ({}, [], ""),
    ],
)
def test_a_coco_verdict_stands_in_the_category_the_attributes_or_the_image(entry, annotations, says):
    (found,) = coco.read(coco_file(entry, annotations).encode(), make_images(SIZES)).given
    assert found.says == says


def test_coco_polygons_are_read_and_known_to_be_rounded():
    content = coco_file(annotations=[{"segmentation": [[0, 0, 1, 0, 1, 2, 0, 2]]}], categories=[])
    reading = coco.read(content.encode(), make_images(SIZES))
    assert not reading.has_verdicts
    assert not reading.given[0].is_exact
    assert pixels(reading.given[0].mask, (2, 2)).tolist() == [[True, False], [True, False]]


def cvat_file(inside="", name="000000000001.jpg", width="2", height="2", before=""):
    image = f'<image id="0" name="{name}" width="{width}" height="{height}">{inside}</image>'
    return f"{before}<annotations>{image}</annotations>"


def cvat_mask(runs="0, 4", left=0, top=0, width=2, height=2):
    return f'<mask label="x" rle="{runs}" left="{left}" top="{top}" width="{width}" height="{height}"/>'


def test_cvat_polygons_are_read_and_known_to_be_rounded():
    (found,) = cvat.read(cvat_file('<polygon points="0,0;1,0;1,2;0,2"/>').encode(), make_images(SIZES)).given
    assert not found.is_exact
    assert pixels(found.mask, (2, 2)).tolist() == [[True, False], [True, False]]


def label_studio_file(entry=(), annotation=(), region=(), **value):
    brush = {"format": "rle", "rle": encode_brush(np.ones((2, 2), np.bool_)), **value}
    known = {"type": "brushlabels", "original_width": 2, "original_height": 2, "value": brush, **dict(region)}
    data = {"data": {"key": "000000000001"}, "annotations": [{"result": [known], **dict(annotation)}], **dict(entry)}
    return json.dumps([data])


def test_a_task_that_was_skipped_in_label_studio_is_skipped():
    content = label_studio_file(annotation={"was_cancelled": True})
    (found,) = label_studio.read(content.encode(), make_images(SIZES)).given
    assert (found.says, found.mask) == ("skip", None)


def test_a_task_without_an_annotation_has_no_answer():
    (found,) = label_studio.read(label_studio_file({"annotations": []}).encode(), make_images(SIZES)).given
    assert (found.says, found.mask) == ("", None)


@pytest.mark.parametrize("seconds", [None, "7", -1, 1e9])
def test_a_time_that_label_studio_can_not_mean_is_unknown(seconds):
    content = label_studio_file(annotation={"lead_time": seconds, "updated_at": "yesterday"})
    (found,) = label_studio.read(content.encode(), make_images(SIZES)).given
    assert (found.seconds, found.answered) == (0.0, "")


TOO_LONG = {"size": [2, 2], "counts": [0, 2**31]}
DOCTYPE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
HOSTILE = {
    "coco: not JSON": ("coco", "{", "not JSON"),
    "coco: a list": ("coco", "[]", "object is needed"),
    "coco: 10 MB of nesting": ("coco", "[" * 10_000_000, "nested"),
    "coco: a path": ("coco", coco_file({"file_name": "../000000000001.jpg"}), "leads elsewhere"),
    "coco: an absolute path": ("coco", coco_file({"file_name": "/etc/000000000001.jpg"}), "leads elsewhere"),
    "coco: an unknown image": ("coco", coco_file({"file_name": "2.jpg"}), "'2.jpg' is no image of the sample"),
    "coco: no name": ("coco", coco_file({"file_name": 1}), "is no file name"),
    "coco: another size": ("coco", coco_file({"width": 3}), "3 x 2 px; it has 2 x 2"),
    "coco: another audit": ("coco", coco_file(info={"plan": "cd" * 32}), "another audit"),
    "coco: a mask of another size": ("coco", coco_file(annotations=[{"segmentation": rle([1])}]), "another size"),
    "coco: runs too long": ("coco", coco_file(annotations=[{"segmentation": TOO_LONG}]), "add up"),
    "coco: runs of no COCO": (
        "coco",
        coco_file(annotations=[{"segmentation": {"size": [2, 2], "counts": "~"}}]),
        "read",
    ),
    "coco: no mask": ("coco", coco_file(annotations=[{"bbox": [0, 0, 1, 1]}]), "without a mask"),
    "coco: an image that is not listed": ("coco", coco_file(annotations=[{"image_id": 2}]), "not listed"),
    "coco: two verdicts": ("coco", coco_file({"verdict": "right"}, [{"category_id": 2}]), "several verdicts"),
    "coco: a verdict that is no text": ("coco", coco_file({"verdict": ["right"]}), "no text"),
    "cvat: not XML": ("cvat", "<annotations>", "not XML"),
    "cvat: no CVAT": ("cvat", "<html/>", "another element than annotations"),
    "cvat: a document type": ("cvat", cvat_file(before=DOCTYPE), "DOCTYPE"),
    "cvat: 10 MB of nesting": ("cvat", "<annotations>" + "<a>" * 3_400_000, "nested"),
    "cvat: a video": ("cvat", "<annotations><track/></annotations>", "CVAT for images"),
    "cvat: a path": ("cvat", cvat_file(name="..\\000000000001.jpg"), "leads elsewhere"),
    "cvat: another size": ("cvat", cvat_file(height="3"), "2 x 3 px; it has 2 x 2"),
    "cvat: a side that is no number": ("cvat", cvat_file(height="-2"), "no whole number"),
    "cvat: runs too long": ("cvat", cvat_file(cvat_mask("0, 5")), "add up to 5 px"),
    "cvat: runs too short": ("cvat", cvat_file(cvat_mask("0, 3")), "add up to 3 px"),
    "cvat: a run of a million digits": ("cvat", cvat_file(cvat_mask("9" * 1_000_000)), "are no numbers"),
    "cvat: negative runs": ("cvat", cvat_file(cvat_mask("6, -2")), "are no numbers"),
    "cvat: no runs": ("cvat", cvat_file(cvat_mask("")), "are no numbers"),
    "cvat: outside": ("cvat", cvat_file(cvat_mask(left=1)), "not inside its 2 x 2"),
    "cvat: no rectangle": ("cvat", cvat_file(cvat_mask("0", width=0)), "not inside"),
    "cvat: a box": ("cvat", cvat_file('<box label="x"/>'), "has a box"),
    "cvat: a polygon of words": ("cvat", cvat_file('<polygon points="a,b;c"/>'), "not a number"),
    "cvat: two verdicts": ("cvat", cvat_file('<tag label="fix"/><tag label="skip"/>'), "several verdicts"),
    "label-studio: no list": ("label-studio", "{}", "no list of tasks"),
    "label-studio: the export itself": ("label-studio", '[{"data": {"key": "000000000001"}}]', "no annotations"),
    "label-studio: an unknown key": (
        "label-studio",
        label_studio_file({"data": {"key": "2"}}),
        "no image of the sample",
    ),
    "label-studio: another audit": ("label-studio", label_studio_file({"data": {"plan": "x"}}), "another audit"),
    "label-studio: another size": ("label-studio", label_studio_file(region={"original_width": 3}), "it has 2 x 2"),
    "label-studio: turned": ("label-studio", label_studio_file(region={"image_rotation": 90}), "turned by 90"),
    "label-studio: no brush": ("label-studio", label_studio_file(region={"type": "polygonlabels"}), "'polygonlabels'"),
    "label-studio: another format": ("label-studio", label_studio_file(format="url"), "format 'url'"),
    "label-studio: a brush that is none": (
        "label-studio",
        label_studio_file(rle=[1, 2]),
        "000000000001 has a brush that",
    ),
    "label-studio: two annotations": (
        "label-studio",
        label_studio_file({"annotations": [{"result": []}] * 2}),
        "2 annotations",
    ),
}


@pytest.mark.parametrize(("tool", "content", "found"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_answer_to_the_sample_is_refused_in_words(tool, content, found):
    with pytest.raises(ValueError, match=found) as refused:
        READ[tool](content.encode(), make_images(SIZES))
    assert len(str(refused.value)) < 500


def test_names_from_a_file_are_quoted_without_what_a_terminal_obeys():
    with pytest.raises(ValueError, match="is no image") as refused:
        coco.read(coco_file({"file_name": "\x1b[2Jx" * 100}).encode(), make_images(SIZES))
    assert "\x1b" not in str(refused.value)
