"""Answers to images whose files are named like other images' keys: each is of its own image, or all are refused."""

import json

import numpy as np
import pytest
from PIL import Image

from pipeline.audit.answers import answers_file, read_answers
from pipeline.audit.exchange.exported import export_sample
from pipeline.audit.exchange.imported import import_sample
from pipeline.audit.folder import open_audit
from pipeline.errors import CollectionError
from pipeline.passes.mask_text import pixels_of, rle_of
from tests.pipeline.audit.exchange.conftest import make_audit
from tests.pipeline.audit.exchange.make import answered_tasks
from tests.pipeline.release.conftest import permuted, release_of, renumbered  # noqa: F401 (fixtures)

RATER = "adjudicator"


@pytest.fixture
def audit(renumbered, tmp_path):  # noqa: F811
    """An audit of all five images. That of key n has the file n + 2."""
    return make_audit(renumbered.folder, tmp_path / "audit")


@pytest.fixture
def closed(permuted, tmp_path):  # noqa: F811
    """An audit of five images, each of whose keys is also another one's file name."""
    return make_audit(permuted.folder, tmp_path / "audit")


def names(audit, how, keys=()):
    """Key → name of a file without suffix, of these images or all of the sample."""
    opened = open_audit(audit)
    files = {key: opened.audited.rows[key]["file_name"] for key in keys or opened.asked.sizes}
    return {
        "keys": {key: key for key in files},
        "marked keys": {key: f"{key}.key" for key in files},
        "files": {key: file.removesuffix(".jpg") for key, file in files.items()},
        "whole files": files,
    }[how]


def drawn(audit, key):
    """A mask that nobody draws of another image."""
    row = open_audit(audit).audited.rows[key]
    mask = np.zeros((row["height"], row["width"]), np.bool_)
    mask.ravel()[: int(key) + 3] = True
    return mask


def as_masks(audit, named):
    folder = audit.parent / "masks"
    folder.mkdir()
    for key, name in named.items():
        Image.fromarray(drawn(audit, key).astype(np.uint8) * 255).save(folder / f"{name}.png")
    return folder


def as_coco(audit, named, **more):
    images, annotations = [], []
    for number, (key, name) in enumerate(named.items()):
        height, width = drawn(audit, key).shape
        images.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        annotations.append({"image_id": number, "segmentation": dict(rle_of(drawn(audit, key)))})
    (audit.parent / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return audit.parent / "coco.json"


def as_cvat(audit, named):
    images = []
    for key, name in named.items():
        height, width = drawn(audit, key).shape
        runs = f"0, {int(key) + 3}, {height * width - int(key) - 3}"
        mask = f'<mask label="x" rle="{runs}" left="0" top="0" width="{width}" height="{height}"/><tag label="fix"/>'
        images.append(f'<image name="{name}.jpg" width="{width}" height="{height}">{mask}</image>')
    (audit.parent / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    return audit.parent / "annotations.xml"


WRITE = {"masks": as_masks, "coco": as_coco, "cvat": as_cvat}


def require_own(audit, keys=()):
    """Has each image the mask that was drawn of it?"""
    given = read_answers(audit, open_audit(audit).asked)[RATER]
    assert {answer.key for answer in given} == set(keys or open_audit(audit).asked.sizes)
    for answer in given:
        assert (pixels_of(answer.mask) == drawn(audit, answer.key)).all()


@pytest.mark.parametrize("source_format", WRITE)
@pytest.mark.parametrize("how", ["keys", "files", "marked keys", "whole files"])
def test_masks_named_in_one_way_are_each_of_their_image(audit, how, source_format):
    source = WRITE[source_format](audit, names(audit, how))
    assert import_sample(audit, source, source_format, RATER).added == 5
    require_own(audit)


@pytest.mark.parametrize("source_format", WRITE)
@pytest.mark.parametrize(("how", "advised"), [("keys", "marked keys"), ("files", "whole files")])
def test_names_that_are_keys_and_files_alike_are_refused_with_advice_that_works(
    closed, tmp_path, how, advised, source_format
):
    source = WRITE[source_format](closed, names(closed, how))
    with pytest.raises(
        CollectionError, match=r"could be of 0{9}\d{3}, whose key it is, or of 0{9}\d{3}, .*\.key\..*Nothing was added"
    ):
        import_sample(closed, source, source_format, RATER)
    assert not answers_file(closed, RATER).exists()
    source.rename(tmp_path / "refused")
    import_sample(closed, WRITE[source_format](closed, names(closed, advised)), source_format, RATER)
    require_own(closed)


def test_a_mask_of_an_image_outside_the_sample_is_not_of_the_one_that_has_its_name_as_key(renumbered, tmp_path):  # noqa: F811
    audit = make_audit(renumbered.folder, tmp_path / "audit", images=3)
    opened = open_audit(audit)
    source = as_masks(audit, names(audit, "files", opened.audited.rows))
    found = import_sample(audit, source, "masks", RATER)
    assert (found.images, found.added) == (3, 3)
    require_own(audit)


@pytest.mark.parametrize("source_format", ["coco", "cvat"])
def test_a_file_with_an_image_outside_the_sample_is_refused(renumbered, tmp_path, source_format):  # noqa: F811
    audit = make_audit(renumbered.folder, tmp_path / "audit", images=3)
    source = WRITE[source_format](audit, names(audit, "files", open_audit(audit).audited.rows))
    with pytest.raises(CollectionError, match=r"no image of the sample. Nothing was added"):
        import_sample(audit, source, source_format, RATER)


def test_a_file_that_states_the_plan_is_by_key(closed):
    source = as_coco(closed, names(closed, "keys"), info={"plan": open_audit(closed).plan.digest})
    import_sample(closed, source, "coco", RATER)
    require_own(closed)


def judged(tool, content, first):
    """What a tool gives back if the first image was skipped and the others are ambiguous; it keeps no plan of ours."""
    if tool == "label-studio":
        keys = [entry["data"]["key"] for entry in json.loads(content)]
        return answered_tasks(content, {key: "skip" if key == first else "ambiguous" for key in keys})
    if tool == "coco":
        document = json.loads(content) | {"info": {}}
        for image in document["images"]:
            image["verdict"] = "skip" if image["id"] == int(first) else "ambiguous"
        return json.dumps(document).encode()
    start, _, rest = content.decode().partition("</image>")
    others = rest.replace("</image>", '<tag label="ambiguous"/></image>')
    return f'{start}<tag label="skip"/></image>{others}'.encode()


@pytest.mark.parametrize(
    ("tool", "file"),
    [("coco", "annotations/instances_default.json"), ("cvat", "annotations.xml"), ("label-studio", "tasks.json")],
)
def test_what_was_exported_comes_back_to_its_images(closed, tool, file):
    export_sample(closed, tool, closed.parent / "out")
    first, *others = open_audit(closed).asked.sizes
    (closed.parent / "file").write_bytes(judged(tool, (closed.parent / "out" / file).read_bytes(), first))
    import_sample(closed, closed.parent / "file", tool, RATER)
    given = {answer.key: answer.verdict for answer in read_answers(closed, open_audit(closed).asked)[RATER]}
    assert given == {first: "skip"} | dict.fromkeys(others, "ambiguous")
