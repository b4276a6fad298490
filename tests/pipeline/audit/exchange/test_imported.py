"""Imports into a real audit: all of a file's answers, or none; and never twice."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.audit.answers import Answer, add_answers, answers_file, latest, read_answers
from pipeline.audit.exchange.brush_rle import encode_brush
from pipeline.audit.exchange.exported import export_sample
from pipeline.audit.exchange.imported import import_sample
from pipeline.audit.folder import open_audit
from pipeline.audit.outcomes import settle
from pipeline.errors import CollectionError, ConfigError
from pipeline.passes.mask_text import pixels_of, rle_of
from tests.pipeline.audit.exchange.make import answered_tasks

RATER = "adjudicator"
VERDICTS = ("right", "fix", "nothing_salient", "ambiguous")
FILE = {"coco": "annotations/instances_default.json", "cvat": "annotations.xml", "label-studio": "tasks.json"}


def import_file(audit, source, source_format, rater=RATER):
    return import_sample(audit, source, source_format, rater)


def answers(audit, rater=RATER):
    return read_answers(audit, open_audit(audit).asked)[rater]


def keys_of(audit):
    return [image.key for image in open_audit(audit).plan.sample]


def fixed(audit, key):
    """The mask that a rater makes of the release's: a corner more, or less."""
    pixels = pixels_of(open_audit(audit).masks()[key]).copy()
    pixels[:3, :3] = ~pixels[:3, :3]
    return pixels


def judge(audit, tool, source):
    """Judge four of the five images in the tool's file, as a rater would: a verdict each, and one mask changed."""
    verdicts = dict(zip(keys_of(audit), VERDICTS, strict=False))
    changed = keys_of(audit)[1]
    if tool == "label-studio":
        brushes = {changed: encode_brush(fixed(audit, changed))}
        source.write_bytes(answered_tasks(source.read_bytes(), verdicts, brushes))
    elif tool == "coco":
        document = json.loads(source.read_text())
        for image in document["images"]:
            image["verdict"] = verdicts.get(image["file_name"].removesuffix(".jpg"), "")
        for annotation in document["annotations"]:
            if annotation["image_id"] == int(changed):
                annotation["segmentation"] = dict(rle_of(fixed(audit, changed)))
        source.write_text(json.dumps(document))
    else:
        found = ""
        for part in source.read_text().split("  <image "):
            key = next((key for key in verdicts if f'name="{key}.jpg"' in part), None)
            if key == changed:
                runs, (height, width) = fixed(audit, key).ravel(), fixed(audit, key).shape
                counts = ", ".join(f"0, {int(run)}" if run else "1, 0" for run in runs)
                mask = f'<mask label="x" rle="{counts}" left="0" top="0" width="{width}" height="{height}"></mask>'
                part = part[: part.index("<mask")] + mask + part[part.index("</mask>") + len("</mask>") :]
            tag = f'<tag label="{verdicts[key]}" source="manual"></tag></image>' if key else "</image>"
            found += ("  <image " if found else "") + part.replace("</image>", tag)
        source.write_text(found)


@pytest.fixture(params=FILE)
def judged(audit, request):
    """An audit, a tool, and its file, in which four of five images have a verdict."""
    export_sample(audit, request.param, audit.parent / "out")
    source = audit.parent / "out" / FILE[request.param]
    judge(audit, request.param, source)
    return audit, request.param, source


def test_masks_and_verdicts_come_back_as_they_were_given(judged):
    audit, tool, source = judged
    found = import_file(audit, source, tool)
    assert (found.rater, found.images, found.added, found.unchanged, found.without_answer) == (RATER, 5, 4, 0, 1)
    given = {answer.key: answer for answer in answers(audit)}
    assert [given[key].verdict for key in keys_of(audit)[:4]] == list(VERDICTS)
    changed = keys_of(audit)[1]
    assert (pixels_of(given[changed].mask) == fixed(audit, changed)).all()
    assert {answer.source.rpartition(" ")[0] for answer in given.values()} == {f"import {tool}"}
    assert {answer.seconds for answer in given.values()} == ({7.5} if tool == "label-studio" else {0.0})


def test_a_second_import_adds_nothing_even_of_a_copy(judged):
    audit, tool, source = judged
    import_file(audit, source, tool)
    before = answers_file(audit, RATER).read_bytes()
    os.utime(source, (0, 0))
    found = import_file(audit, source, tool)
    assert (found.added, found.unchanged, found.without_answer) == (0, 4, 1)
    assert answers_file(audit, RATER).read_bytes() == before


def test_an_earlier_file_that_is_imported_again_counts_again(judged):
    audit, tool, source = judged
    first = source.read_bytes()
    import_file(audit, source, tool)
    before = latest(answers(audit))
    source.write_bytes(first.replace(b"ambiguous", b"wrong_object"))
    assert import_file(audit, source, tool).added  # with a digest of its own, so that all its answers are new
    assert latest(answers(audit)) != before
    source.write_bytes(first)
    assert import_file(audit, source, tool).added == 4
    assert latest(answers(audit)) == before
    found = import_file(audit, source, tool)
    assert (found.added, found.unchanged) == (0, 4)


def test_an_export_that_nobody_has_judged_has_no_answers(audit):
    for tool in ("coco", "cvat"):
        export_sample(audit, tool, audit.parent / tool)
        found = import_file(audit, audit.parent / tool / FILE[tool], tool)
        assert (found.added, found.without_answer) == (0, 5)
    assert not answers_file(audit, RATER).exists()


def test_an_answer_that_is_not_the_raters_to_give_keeps_all_others_out(judged):
    audit, tool, source = judged
    with pytest.raises(CollectionError, match=r"is not a task of rater-1. Nothing was added"):
        import_file(audit, source, tool, "rater-1")
    assert not answers_file(audit, "rater-1").exists()


def test_a_file_of_another_format_is_refused(judged):
    audit, tool, source = judged
    other = "cvat" if tool == "coco" else "coco"
    with pytest.raises(CollectionError, match="Nothing was added"):
        import_file(audit, source, other)
    assert not answers_file(audit, RATER).exists()


def test_it_must_be_said_whose_answers_they_are(judged):
    audit, tool, source = judged
    for rater in ("", "rater-9"):
        with pytest.raises(ConfigError, match="One of rater-1, rater-2, adjudicator"):
            import_file(audit, source, tool, rater)


@pytest.mark.parametrize("tool", FILE)
def test_an_image_that_is_there_twice_is_refused(audit, tool):
    key = keys_of(audit)[0]
    height, width = open_audit(audit).asked.sizes[key]
    facts = {"file_name": f"{key}.jpg", "height": height, "width": width, "verdict": "skip"}
    content = {
        "coco": json.dumps({"images": [{"id": 1, **facts}, {"id": 2, **facts}], "annotations": []}),
        "cvat": "<annotations>" + f'<image name="{key}" height="{height}" width="{width}"/>' * 2 + "</annotations>",
        "label-studio": json.dumps([{"data": {"key": key}, "annotations": []}] * 2),
    }
    (audit / "file").write_text(content[tool])
    with pytest.raises(CollectionError, match=f"{key} is there 2 times. Nothing was added"):
        import_file(audit, audit / "file", tool)


@pytest.mark.parametrize("source", ["nothing", "."])
def test_a_file_that_is_not_there_is_named(audit, source):
    with pytest.raises(CollectionError, match="can't be read"):
        import_file(audit, audit / source, "coco")


def test_a_zip_is_to_be_unpacked(audit):
    (audit / "export.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CollectionError, match="unpack it"):
        import_file(audit, audit / "export.zip", "cvat")


# Masks


def write_masks(audit, masks):
    folder = audit.parent / "masks"
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name)
    return folder


def test_a_folder_of_masks_is_a_folder_of_answers(audit):
    first, second, third, *_ = keys_of(audit)
    opened = open_audit(audit)
    masks = {
        f"{first}.png": pixels_of(opened.masks()[first]),
        opened.audited.rows[second]["file_name"].replace(".jpg", ".png"): fixed(audit, second),
        f"{third}.png": np.zeros(opened.asked.sizes[third], np.bool_),
    }
    folder = write_masks(audit, masks)
    found = import_file(audit, folder, "masks")
    assert (found.images, found.added, found.without_answer) == (3, 3, 0)
    given = {answer.key: answer for answer in answers(audit)}
    assert [given[key].verdict for key in (first, second, third)] == ["right", "fix", "nothing_salient"]
    assert (pixels_of(given[second].mask) == fixed(audit, second)).all()
    (source,) = {answer.source for answer in given.values()}
    assert source.startswith("import masks ")
    assert {answer.answered for answer in given.values()} == {""}  # nobody knows when they were drawn
    assert import_file(audit, folder, "masks").unchanged == 3


def test_imported_masks_settle_the_audit_with_the_iou_that_was_drawn(audit):
    key = keys_of(audit)[0]
    import_file(audit, write_masks(audit, {f"{key}.png": fixed(audit, key)}), "masks")
    opened = open_audit(audit)
    outcomes, _ = settle(opened.plan, read_answers(audit, opened.asked), opened.masks())
    released, drawn = pixels_of(opened.masks()[key]), fixed(audit, key)
    assert outcomes[0].iou == pytest.approx((released & drawn).sum() / (released | drawn).sum())


def test_masks_of_other_images_are_left_out_and_told(audit, told):
    mine, *_ = open_audit(audit).plan.tasks_of("rater-1")
    hers, *_ = open_audit(audit).plan.tasks_of("rater-2")
    masks = {f"{mine}.png": fixed(audit, mine), f"{hers}.png": fixed(audit, hers), "cat.png": np.ones((2, 2), np.bool_)}
    folder = write_masks(audit, masks)
    found = import_sample(audit, folder, "masks", "rater-1")
    assert (found.images, found.added) == (1, 1)
    assert [answer.key for answer in answers(audit, "rater-1")] == [mine]
    assert any(line.startswith("2 masks are of images that rater-1 does not judge") for line in told.lines)


def test_masks_without_a_pixel_are_counted(audit, told):
    first, second, third = keys_of(audit)[:3]
    empty = {f"{key}.png": np.zeros_like(fixed(audit, key)) for key in (first, third)}
    import_file(audit, write_masks(audit, {**empty, f"{second}.png": fixed(audit, second)}), "masks")
    assert [line for line in told.lines if "no pixel" in line] == [
        f"2 of 3 masks have no pixel, which says that nothing is salient: {first}, for example"
    ]


def test_a_mask_that_stands_in_its_transparency_is_refused_and_is_no_answer(audit):
    key = keys_of(audit)[0]
    folder = write_masks(audit, {})
    alpha = Image.fromarray(fixed(audit, key).astype(np.uint8) * 255)
    Image.merge("LA", (Image.new("L", alpha.size), alpha)).convert("RGBA").save(folder / f"{key}.png")
    with pytest.raises(CollectionError, match=rf"{key}\.png can't be read as a mask: .*stand in its transparency"):
        import_file(audit, folder, "masks")
    assert not answers(audit)


def test_a_folder_without_a_mask_to_judge_is_refused(audit):
    folder = write_masks(audit, {"cat.png": np.ones((2, 2), np.bool_)})
    with pytest.raises(CollectionError, match=r"none of its 1 masks, such as 'cat.png', is of an image to judge"):
        import_file(audit, folder, "masks")


def test_a_mask_of_another_size_is_refused(audit):
    key = keys_of(audit)[0]
    height, width = open_audit(audit).asked.sizes[key]
    folder = write_masks(audit, {f"{key}.png": np.zeros((height, width + 1), np.bool_)})
    with pytest.raises(CollectionError, match=f"{key} is said to have {width + 1} x {height} px"):
        import_file(audit, folder, "masks")


def test_a_file_that_is_no_mask_is_named(audit):
    folder = write_masks(audit, {})
    (folder / f"{keys_of(audit)[0]}.png").write_bytes(b"no picture")
    with pytest.raises(CollectionError, match=r"png can't be read as a mask: undecodable"):
        import_file(audit, folder, "masks")


# What the page has saved


def saved(audit, **fields):
    opened = open_audit(audit)
    tasks = opened.plan.tasks_of("rater-1")
    known = Answer(plan=opened.plan.digest, rater="rater-1", key=tasks[0], verdict="skip", seconds=3.5)
    return replace(known, **fields)


def test_saved_answers_are_added_once_and_say_whose_they_are(audit):
    lines = [saved(audit), saved(audit, verdict="right")]
    (audit.parent / "saved.jsonl").write_bytes(b"".join(line.encode() for line in lines))
    found = import_file(audit, audit.parent / "saved.jsonl", "answers", "")
    assert (found.rater, found.images, found.added) == ("rater-1", 1, 2)
    assert answers(audit, "rater-1") == lines
    found = import_file(audit, audit.parent / "saved.jsonl", "answers", "rater-1")
    assert (found.added, found.unchanged) == (0, 2)
    assert answers(audit, "rater-1") == lines


def test_an_older_file_does_not_come_after_newer_answers(audit):
    (audit.parent / "saved.jsonl").write_bytes(saved(audit).encode())
    import_file(audit, audit.parent / "saved.jsonl", "answers", "")
    add_answers(audit, "rater-1", [saved(audit, verdict="right")])
    import_file(audit, audit.parent / "saved.jsonl", "answers", "")
    assert [answer.verdict for answer in answers(audit, "rater-1")] == ["skip", "right"]


@pytest.mark.parametrize("there", range(6))
def test_a_copy_of_an_audits_answers_adds_what_came_later_and_an_older_copy_nothing(audit, there):
    """Also of imports: their lines have no time of their own, so that a restored one equals an earlier one."""
    first, second = (saved(audit, verdict=verdict, source=f"import {verdict}") for verdict in ("skip", "right"))
    judged = saved(audit, answered="2026-11-26T12:00:00Z")
    lines = [first, second, first, judged, second]
    if there:
        add_answers(audit, "rater-1", lines[:there])
    copy = audit.parent / "copy.jsonl"
    copy.write_bytes(b"".join(line.encode() for line in lines))
    assert import_file(audit, copy, "answers", "rater-1").added == 5 - there
    assert answers(audit, "rater-1") == lines
    copy.write_bytes(b"".join(line.encode() for line in lines[:there]))
    assert import_file(audit, copy, "answers", "rater-1").added == 0


def test_a_line_of_the_page_that_a_copy_has_twice_does_not_come_after_newer_ones(audit):
    old = saved(audit, answered="2026-11-26T12:00:00Z")
    new = saved(audit, verdict="right", answered="2026-11-26T12:00:01Z")
    add_answers(audit, "rater-1", [old, new])
    (audit.parent / "copy.jsonl").write_bytes(old.encode() * 2 + new.encode() + old.encode())
    assert import_file(audit, audit.parent / "copy.jsonl", "answers", "rater-1").added == 0


def test_a_saved_file_without_the_end_of_its_last_line_loses_no_answer(audit):
    (audit.parent / "saved.jsonl").write_bytes(saved(audit).encode().rstrip())
    assert import_file(audit, audit.parent / "saved.jsonl", "answers", "").added == 1


def test_a_torn_saved_file_is_refused(audit):
    (audit.parent / "saved.jsonl").write_bytes(saved(audit).encode() * 2 + saved(audit).encode()[:40])
    with pytest.raises(CollectionError, match="line 3"):
        import_file(audit, audit.parent / "saved.jsonl", "answers", "")
    assert not answers_file(audit, "rater-1").exists()


def test_answers_of_two_raters_or_of_another_audit_are_refused(audit):
    tasks = open_audit(audit).plan.tasks_of("rater-2")
    source = audit.parent / "saved.jsonl"
    source.write_bytes(saved(audit).encode() + saved(audit, rater="rater-2", key=tasks[0]).encode())
    with pytest.raises(CollectionError, match="answers of rater-1, rater-2"):
        import_file(audit, source, "answers", "")
    source.write_bytes(saved(audit, plan="0" * 64).encode())
    with pytest.raises(CollectionError, match="another plan"):
        import_file(audit, source, "answers", "")
    source.write_bytes(saved(audit).encode())
    with pytest.raises(ConfigError, match="are those of rater-1"):
        import_file(audit, source, "answers", "rater-2")
    assert not answers_file(audit, "rater-1").exists()


def test_an_empty_file_has_no_answers(audit):
    (audit.parent / "saved.jsonl").write_bytes(b"")
    assert import_file(audit, audit.parent / "saved.jsonl", "answers", "rater-1").added == 0
