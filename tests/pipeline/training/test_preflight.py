"""What is refused before a training begins: nothing is written, and nothing of the user's is replaced or removed."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
from PIL import Image

from pipeline.errors import CollectionError, ConfigError
from pipeline.training import trainer
from pipeline.training.preflight import check_request
from pipeline.training.watch import MODEL_KIND
from tests.pipeline.training.make import make_config, make_pairs


@pytest.fixture
def check(tmp_path, pairs_folder):
    """Checks a training into tmp_path/out; gives its pairs."""

    def run(**options):
        return check_request(make_config(pairs_folder, "nano", tmp_path / "out", **options))

    return run


def files_under(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write_model(folder, kind=MODEL_KIND, **others):
    """A folder as a training leaves it, as far as its list of files goes, and further files."""
    folder.mkdir(parents=True)
    (folder / "origin.json").write_text(json.dumps({"kind": kind}))
    (folder / "weights").write_text("w")
    files = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for digest, name in files))
    for name, content in others.items():
        (folder / name).write_text(content)


def test_a_new_folder_and_one_of_a_training_are_accepted_and_left_as_they_are(check, tmp_path):
    assert len(check()) == 4
    assert files_under(tmp_path) == []
    for name in ("model", "best"):
        write_model(tmp_path / "out" / name)
    (tmp_path / "out/training.json").write_text("{}")
    (tmp_path / "out/notes.txt").write_text("mine")
    before = files_under(tmp_path)
    check()
    assert files_under(tmp_path) == before


@pytest.mark.parametrize("name", ["model", "best", "metrics.csv", "tensorboard", "validation", "checkpoint-7"])
def test_files_of_these_names_that_no_training_wrote_are_not_touched(check, tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"--output-dir: .*/out holds {name} but no training\.json"):
        check()


@pytest.mark.parametrize("name", ["model", "best"])
def test_a_foreign_file_in_a_folder_to_be_replaced_is_named(check, tmp_path, name):
    write_model(tmp_path / "out" / name, notes="mine")
    (tmp_path / "out/training.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"/out/{name} would be replaced, but notes in it is not what a training"):
        check()
    assert (tmp_path / "out" / name / "notes").read_text() == "mine"


def test_another_kind_of_model_folder_a_file_and_a_link_are_not_replaced(check, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/training.json").write_text("{}")
    write_model(tmp_path / "out/model", kind="official SOD-diffusion checkpoint")
    with pytest.raises(ConfigError, match="/out/model would be replaced"):
        check()
    (tmp_path / "out/model").rename(tmp_path / "elsewhere")
    (tmp_path / "out/model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="/out/model is not a folder"):
        check()
    (tmp_path / "out/model").unlink()
    (tmp_path / "out/best").write_text("mine")
    with pytest.raises(ConfigError, match="/out/best is not a folder"):
        check()


def test_a_folder_inside_the_release_that_is_learnt_from_is_refused(pairs_folder, tmp_path):
    config = make_config(pairs_folder, "nano", tmp_path / "release/tuned")
    data = replace(config.data, train_img=None, train_gt=None, train_release=tmp_path / "release")
    with pytest.raises(ConfigError, match=r"^--output-dir .*tuned is inside the release"):
        check_request(replace(config, data=data))


def test_a_folder_that_cannot_be_written_to_is_refused(pairs_folder, tmp_path):
    (tmp_path / "file").write_text("")
    for out, reason in ((tmp_path / "file/out", "Not a directory"), ("/proc/out", "nothing can be written there")):
        with pytest.raises(ConfigError, match=f"^--output-dir: {out}: .*{reason}"):
            check_request(make_config(pairs_folder, "nano", out))


def test_a_checkpoint_that_does_not_exist_is_refused(check, tmp_path):
    with pytest.raises(ConfigError, match=r"--resume-from-checkpoint checkpoint-7: .* has no checkpoint"):
        check(resume_from_checkpoint="checkpoint-7")


def test_validation_photos_are_checked_too(check, tmp_path):
    folder = make_pairs(tmp_path / "val", 2)
    options = {"val_img": folder / "photos", "val_gt": folder / "masks"}
    check(**options)
    Image.new("L", (5, 5)).save(folder / "masks/1.png")
    with pytest.raises(CollectionError, match="1 of 2 masks differ in size"):
        check(**options)
    (folder / "masks/1.png").unlink()
    with pytest.raises(CollectionError, match=r"1\.png"):
        check(**options)
    assert not (tmp_path / "out").exists()


def test_the_training_checks_before_it_loads_weights(tmp_path, pairs_folder, monkeypatch):
    monkeypatch.setattr(trainer, "claim_of", None)
    (tmp_path / "out/model").mkdir(parents=True)
    with pytest.raises(ConfigError, match="out holds model"):
        trainer.train_in_worker(make_config(pairs_folder, "nano", tmp_path / "out"), trainer.Worker())
    assert os.listdir(tmp_path / "out") == ["model"]
