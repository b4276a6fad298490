"""An audit is started whole or not at all, and what can be refused is refused before anything is written."""

import json

import pytest

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import open_audit
from pipeline.audit.plan import read_plan
from pipeline.audit.start import start_audit
from pipeline.errors import CollectionError, ConfigError, ReleaseExistsError


def start(release, out, **options):
    own = {name: options.pop(name) for name in ("annotations", "dry_run") if name in options}
    return start_audit(str(release), str(out), AuditConfig(**{"images": 5, **options}), **own)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_started_audit_has_plan_page_and_tasks_and_says_what_it_can_prove(audited_release, tmp_path, told):
    started = start(audited_release, tmp_path / "audit", overlap=1)
    audit = open_audit(tmp_path / "audit")
    assert (started.plan, started.images, started.population, started.judgements) == (audit.plan.digest, 5, 5, 10)
    names = set(contents(tmp_path / "audit"))
    assert {"plan.json", "release.txt", "index.html", "tasks/rater-1.js", "tasks/rater-2.js"} <= names
    assert any("5 accepted images" in line for line in told.lines)
    assert any("hours" in line for line in told.lines)
    assert max(map(len, told.lines)) <= 120


def test_no_score_and_no_answer_is_in_the_folder_of_an_audit(audited_release, tmp_path):
    start(audited_release, tmp_path / "audit")
    for name, content in contents(tmp_path / "audit").items():
        if name.startswith(("tasks/", "masks/")):
            assert b"ensemble_variance" not in content
            assert b"pairwise_iou" not in content


def test_the_same_command_again_changes_nothing(audited_release, tmp_path):
    first = start(audited_release, tmp_path / "audit")
    before = contents(tmp_path / "audit")
    assert start(audited_release, tmp_path / "audit") == first
    assert contents(tmp_path / "audit") == before


def test_a_dry_run_writes_nothing(audited_release, tmp_path):
    started = start(audited_release, tmp_path / "audit", dry_run=True)
    assert (started.page, list(tmp_path.iterdir())) == ("", [])


def test_an_interrupted_start_leaves_nothing(audited_release, tmp_path, monkeypatch):
    from pipeline.audit import start as module

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_pages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(audited_release, tmp_path / "audit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"images": 4}, ReleaseExistsError, "has another audit"),
        ({"strata": "beauty"}, ConfigError, "has no score beauty"),
        ({"advise": "beauty"}, ConfigError, "has no score beauty"),
        ({"advise": "ensemble_variance", "strata": "size"}, ConfigError, "advice needs a simple random sample"),
        ({"predict_with": "ensemble_variance_per_area"}, ConfigError, "give a score between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(audited_release, tmp_path, options, error, said):
    start(audited_release, tmp_path / "audit")
    before = contents(tmp_path)
    with pytest.raises(error, match=said):
        start(audited_release, tmp_path / "audit", **options)
    assert contents(tmp_path) == before


def test_an_audit_inside_its_release_is_refused(audited_release):
    before = contents(audited_release)
    with pytest.raises(ConfigError, match="is inside the release"):
        start(audited_release, audited_release / "audit")
    assert contents(audited_release) == before


def test_folders_of_something_else_are_left_alone(audited_release, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ReleaseExistsError, match="is not the folder of an audit"):
            start(audited_release, place)
    with pytest.raises(CollectionError, match="does not exist"):
        start(tmp_path / "nowhere", tmp_path / "audit")
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_instances_come_from_annotations_of_the_same_images(audited_release, tmp_path):
    plan = start(audited_release, tmp_path / "first")
    images = read_plan(tmp_path / "first").sample
    row = open_audit(tmp_path / "first").audited.rows[images[0].key]
    entry = {"id": row["image_id"], "file_name": row["file_name"], "width": row["width"], "height": row["height"]}
    box = [[1, 1, 9, 1, 9, 9, 1, 9]]
    annotation = {"id": 1, "image_id": entry["id"], "category_id": 3, "segmentation": box, "iscrowd": 0}
    document = {"images": [entry], "annotations": [annotation], "categories": [{"id": 3, "name": "kettle"}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    assert start(audited_release, tmp_path / "second", annotations=str(path)).plan == plan.plan
    assert b"kettle" in (tmp_path / f"second/masks/{images[0].key}.js").read_bytes()
    entry["width"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="has another size of"):
        start(audited_release, tmp_path / "third", annotations=str(path))
    entry["id"] = annotation["image_id"] = 999
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="has none of the drawn images"):
        start(audited_release, tmp_path / "third", annotations=str(path))
