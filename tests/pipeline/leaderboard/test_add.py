"""Results enter a leaderboard if they are of its images and its scorer; what is there never changes."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import CollectionError, ConfigError, ReleaseExistsError, RunMismatchError, UsageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.leaderboard.add import add_result
from pipeline.leaderboard.board import read_board
from tests.pipeline.leaderboard.conftest import evaluate_quietly
from tests.pipeline.make import make_collection


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edited(result, folder, change):
    """A copy of a result that somebody has changed."""
    shutil.copytree(result, folder)
    document = json.loads((folder / "evaluation.json").read_text())
    change(document)
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def test_entries_have_the_figures_of_their_results(board, good, poor):
    found = {entry.name: entry for entry in read_board(board).entries}
    for name, result in (("Good & fast", good), ("Poor model", poor)):
        document = json.loads((result / "evaluation.json").read_text())
        assert dict(found[name].metrics) == document["metrics"]
        assert {metric: list(ends) for metric, ends in found[name].intervals.items()} == document["intervals"]
    assert (found["Good & fast"].missing, found["Poor model"].missing) == (0, 1)


def test_a_board_has_small_pictures_of_photos_masks_and_maps(board):
    names = set(contents(board))
    for number in (2, 4, 6, 8, 10):
        assert {f"pictures/{number:012d}.photo.webp", f"pictures/{number:012d}.mask.webp"} <= names
    maps = [name for name in names if "/maps/" in name]
    assert len(maps) == 5 + 4  # the poor model lacks one


def test_the_same_result_again_adds_nothing(board, good):
    before = contents(board)
    assert not add_result(good, board, name="Good & fast", link="https://example.org/(good)", collection="COCO").is_new
    assert contents(board) == before


def test_a_board_inside_its_release_is_refused(good):
    release = Path(json.loads((good / "evaluation.json").read_text())["settings"]["masks"])
    before = contents(release)
    with pytest.raises(ConfigError, match=r"--board .* is inside the release"):
        add_result(good, release / "board", name="Good", collection="COCO")
    assert contents(release) == before


def test_other_figures_under_the_same_name_are_refused(board, poor):
    before = contents(board)
    with pytest.raises(ReleaseExistsError, match="has other figures of Good & fast"):
        add_result(poor, board, name="Good & fast", link="https://example.org/(good)", collection="COCO")
    assert contents(board) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document["scorer"].update(digest="0" * 64), "scorer: made with"),
        (lambda document: document["release"].update(images=4), "images: made with 5, requested 4"),
        (lambda document: document["release"].update(missing_counts_as="skip"), "missing: made with worst"),
        (lambda document: document.update(truths_sha256="0" * 64), "truths: made with"),
    ],
)
def test_results_that_were_measured_otherwise_are_refused(board, good, tmp_path, change, said):
    before = contents(board)
    with pytest.raises(RunMismatchError, match=said):
        add_result(edited(good, tmp_path / "other", change), board, name="Other", collection="COCO")
    assert contents(board) == before


def test_what_the_first_result_said_of_the_collection_holds_for_the_others(board, good):
    add_result(good, board, name="Later")
    found = read_board(board)
    assert found.about.collection == "COCO"
    assert "Later" in [entry.name for entry in found.entries]


@pytest.mark.parametrize(
    ("begun_with", "said"),
    [
        ("COCO", "--collection Flickr30k: .*board was begun with COCO. Leave it out"),
        ("", "--collection Flickr30k: .*board was begun without one. Leave it out"),
    ],
)
def test_another_collection_than_the_boards_is_refused(good, poor, tmp_path, begun_with, said):
    add_result(poor, tmp_path / "board", name="Poor", collection=begun_with)
    before = contents(tmp_path / "board")
    with pytest.raises(RunMismatchError, match=said):
        add_result(good, tmp_path / "board", name="Good", collection="Flickr30k")
    assert contents(tmp_path / "board") == before


def test_a_result_of_a_release_that_has_changed_since_is_refused(good, tmp_path):
    other = edited(good, tmp_path / "other", lambda document: document["release"].update(release_json_sha256="0" * 64))
    with pytest.raises(RunMismatchError, match="is another release now"):
        add_result(other, tmp_path / "board", name="Other")
    assert not (tmp_path / "board").exists()


def test_what_is_no_result_on_a_release_is_refused(good, tmp_path):
    with pytest.raises(CollectionError, match=r"has no evaluation\.json"):
        add_result(tmp_path / "nowhere", tmp_path / "board", name="Other")
    folder = edited(good, tmp_path / "other", lambda document: document.update(release=None))
    with pytest.raises(UsageError, match="is an evaluation of a folder of masks"):
        add_result(folder, tmp_path / "board", name="Other")
    old = edited(good, tmp_path / "old", lambda document: document.update(format=1))
    with pytest.raises(CollectionError, match="an earlier version of the project made it"):
        add_result(old, tmp_path / "board", name="Other")


def test_a_folder_of_something_else_is_left_alone(good, tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board/notes.txt").write_text("mine")
    with pytest.raises(CollectionError, match="is not empty and no leaderboard"):
        add_result(good, tmp_path / "board", name="Other")
    assert contents(tmp_path / "board") == {"notes.txt": b"mine"}


def test_an_interrupted_start_is_finished_by_the_same_command(board, good, tmp_path):
    whole = contents(board)
    shutil.rmtree(board / "pictures")
    shutil.rmtree(next(board.glob("entries/good*")))
    add_result(good, board, name="Good & fast", link="https://example.org/(good)", collection="COCO")
    assert contents(board) == whole


def test_a_release_of_masks_alone_has_a_board_without_photos(release_of, tmp_path):
    masks = release_of(make_collection(tmp_path / "in", 4), tmp_path / "run", embed_images=False)
    (tmp_path / "maps").mkdir()
    for key, members in masks.samples().items():
        (tmp_path / f"maps/{key}.png").write_bytes(members["mask.png"])
    config = EvaluationConfig(
        out=str(tmp_path / "result"),
        release=str(masks.folder),
        predictions=str(tmp_path / "maps"),
        cluster=ClusterConfig(engine="inline"),
    )
    evaluate_quietly(config)
    add_result(tmp_path / "result", tmp_path / "board", name="perfect")
    names = [path.name for path in (tmp_path / "board/pictures").iterdir()]
    assert names
    assert all(name.endswith(".mask.webp") for name in names)
