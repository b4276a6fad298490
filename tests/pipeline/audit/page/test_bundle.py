"""The files of the audit page: what they have, and above all what they don't."""

import dataclasses
import hashlib
import json
import re
from importlib.resources import files

import pytest

from pipeline.audit.page.bundle import write_pages
from pipeline.audit.released import read_audited
from pipeline.errors import ConfigError, StorageError
from pipeline.files import storage
from pipeline.files.maps import decode_png, variance_of
from pipeline.files.tars import samples_of
from pipeline.release.opened import masks_in


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(content):
    """What a data script says."""
    return json.loads(b"[" + re.fullmatch(rb"audit\.\w+\((.*)\);\n", content, re.DOTALL)[1] + b"]")


def released_samples(release):
    found = {}
    for tar in release.glob("data/*/*.tar"):
        found.update(samples_of(tar.read_bytes()))
    return found


def test_each_rater_gets_her_images_in_her_order_and_nothing_else(prepared):
    made = prepared(images=4, overlap=0.5)
    names = files_of(made.path)
    sample = sorted(image.key for image in made.audit.plan.sample)
    for rater in made.audit.plan.raters:
        (tasks,) = said(names[f"tasks/{rater}.js"])
        assert (tasks["plan"], tasks["rater"]) == (made.audit.plan.digest, rater)
        assert [task["key"] for task in tasks["tasks"]] == made.tasks(rater)
        for task in tasks["tasks"]:
            assert set(task) == {"key", "width", "height", "image", "variance", "data"}
            assert {task["image"], task["variance"], task["data"]} <= names.keys()
    assert sorted(name for name in names if name.startswith("images/")) == [f"images/{key}.jpg" for key in sample]


def test_images_are_those_of_the_release_and_masks_and_variance_are_its_own(prepared, audited_release):
    made = prepared()
    samples, masks = released_samples(audited_release), made.audit.masks()
    for key in made.tasks():
        assert (made.path / "images" / f"{key}.jpg").read_bytes() == samples[key]["jpg"]
        assert said((made.path / "masks" / f"{key}.js").read_bytes()) == [key, {"mask": masks[key], "instances": []}]
        shown = decode_png((made.path / "variance" / f"{key}.png").read_bytes()).astype(int)
        assert abs(shown - 255 * 4 * variance_of(decode_png(samples[key]["variance.png"]))).max() <= 0.5


def test_no_score_file_name_or_rater_stands_in_what_is_shown(prepared, audited_release):
    made = prepared()
    rows = read_audited(str(audited_release)).rows
    shown = b"".join(
        content for name, content in files_of(made.path).items() if name.split("/")[0] in ("masks", "tasks")
    )
    for row in rows.values():
        assert row["file_name"].encode() not in shown
        assert json.dumps(row["pairwise_iou"]).encode() not in shown
    assert b"rater-2" not in (made.path / "tasks" / "rater-1.js").read_bytes()


def test_no_text_can_end_a_data_script_or_become_markup(prepared, hostile_instances):
    made = prepared(instances=hostile_instances)
    for name, content in files_of(made.path).items():
        if name.startswith(("tasks/", "masks/")):
            assert content.isascii()
            assert b"<" not in content
    key = made.tasks()[0]
    _, shown = said((made.path / "masks" / f"{key}.js").read_bytes())
    assert shown["instances"][0]["label"] == hostile_instances[key][0].category


def test_a_release_of_masks_alone_is_refused_before_anything_is_written(prepared, audited_release, tmp_path):
    audit = prepared().audit
    stated = dataclasses.replace(
        audit.audited.stated, release=dataclasses.replace(audit.audited.stated.release, embed_images=False)
    )
    (tmp_path / "new").mkdir()
    with pytest.raises(ConfigError, match=r"masks alone.*embed_images"):
        write_pages(tmp_path / "new", audit.plan, dataclasses.replace(audit.audited, stated=stated), audit.masks())
    assert files_of(tmp_path / "new") == {}


@pytest.mark.parametrize("name", ["index.html", "images/mine.jpg", "tasks/notes.txt"])
def test_files_that_are_there_are_never_overwritten(prepared, tmp_path, name):
    audit = prepared().audit
    (tmp_path / "new" / name).parent.mkdir(parents=True)
    (tmp_path / "new" / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="already has"):
        write_pages(tmp_path / "new", audit.plan, audit.audited, audit.masks())
    assert files_of(tmp_path / "new") == {name: b"mine"}


def test_a_tar_that_lacks_a_drawn_image_is_named(prepared, monkeypatch, tmp_path):
    audit = prepared().audit
    key = min(audit.masks())
    monkeypatch.setitem(audit.audited.rows, "absent", {**audit.audited.rows[key], "key": "absent"})
    (tmp_path / "new").mkdir()
    with pytest.raises(StorageError, match=r"tar lacks absent\."):
        write_pages(tmp_path / "new", audit.plan, audit.audited, {"absent": audit.masks()[key]})


def test_a_release_at_a_url_is_read_there(audited_release, prepared, tmp_path):
    audit = prepared().audit
    for name in (str(path.relative_to(audited_release)) for path in audited_release.rglob("*") if path.is_file()):
        storage.publish(f"memory://audits/release/{name}", (audited_release / name).read_bytes())
    remote = read_audited("memory://audits/release")
    (tmp_path / "new").mkdir()
    write_pages(tmp_path / "new", audit.plan, remote, masks_in(remote, audit.masks()))
    here = files_of(audit.path)
    assert files_of(tmp_path / "new") == {name: here[name] for name in here if name not in ("plan.json", "release.txt")}


def test_the_bundled_library_is_the_one_that_its_readme_states(prepared):
    folder = files("pipeline.audit") / "page" / "vendor"
    stated = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M))
    assert stated.keys() == {"konva.min.js", "konva.LICENSE.txt"}
    for name, sha256 in stated.items():
        assert (
            hashlib.sha256((prepared(f"a-{name}").path / "page" / "vendor" / name).read_bytes()).hexdigest() == sha256
        )
