"""Exports of a real audit: a new folder, whole or not at all."""

import io
import json

import pytest
from PIL import Image

from pipeline.audit.exchange import exported
from pipeline.audit.exchange.exported import export_sample
from pipeline.audit.folder import open_audit
from pipeline.errors import ConfigError

FILES = {
    "coco": {"README.md", "annotations/instances_default.json"},
    "cvat": {"README.md", "annotations.xml", "labels.json"},
    "label-studio": {"README.md", "tasks.json", "interface.xml"},
}


def export(audit, to="coco", rater="", out="out"):
    return export_sample(audit, to, audit.parent / out, rater)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", FILES)
def test_an_export_has_the_images_and_the_tools_files_and_nothing_else(audit, to):
    found = export(audit, to)
    opened = open_audit(audit)
    images = {f"images/{image.key}.jpg" for image in opened.plan.sample}
    assert names(audit.parent / "out") == images | FILES[to]
    assert (found.images, set(found.files), found.format) == (5, FILES[to], to)
    for image in opened.plan.sample:
        row = opened.audited.rows[image.key]
        content = (audit.parent / "out" / "images" / f"{image.key}.jpg").read_bytes()
        assert Image.open(io.BytesIO(content)).size == (row["width"], row["height"])
    json.dumps(found.out)


def test_a_rater_gets_her_images_in_her_order(audit):
    tasks = open_audit(audit).plan.tasks_of("rater-2")
    assert export(audit, "label-studio", "rater-2").images == len(tasks) < 5
    entries = json.loads((audit.parent / "out" / "tasks.json").read_text())
    assert [entry["data"]["key"] for entry in entries] == tasks


def test_the_adjudicator_gets_all(audit):
    assert export(audit, rater="adjudicator").images == 5


def test_an_unknown_rater_is_refused_and_nothing_written(audit):
    with pytest.raises(ConfigError, match="--rater rater-3: this audit has rater-1, rater-2, adjudicator"):
        export(audit, rater="rater-3")
    assert not (audit.parent / "out").exists()


def test_a_folder_with_files_is_left_alone_and_an_empty_one_is_used(audit):
    out = audit.parent / "out"
    out.mkdir()
    export(audit)
    before = names(out)
    with pytest.raises(ConfigError, match="not an empty folder"):
        export(audit, "cvat")
    assert names(out) == before


def test_an_export_that_fails_leaves_nothing(audit, monkeypatch):
    def fail(*_):
        raise OSError("no more")

    monkeypatch.setattr(exported, "_files", fail)
    with pytest.raises(OSError, match="no more"):
        export(audit)
    assert [path.name for path in audit.parent.iterdir()] == ["audit"]
