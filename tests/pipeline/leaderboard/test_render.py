"""Which certificate a leaderboard shows, and what it says of differences in MAE."""

import json
import shutil

import pytest

from pipeline.errors import CollectionError, RunMismatchError
from pipeline.leaderboard.add import add_result
from pipeline.leaderboard.board import read_board
from pipeline.leaderboard.render import render_board
from tests.pipeline.release.test_newest_certificate import certify

pytestmark = pytest.mark.usefixtures("fast_disk")


@pytest.fixture
def certified(released, tmp_path):
    """The release with a certificate."""
    release = shutil.copytree(released.folder, tmp_path / "certified")
    certify(release, "Good *enough*.", 0.4)
    return release


def with_certificate(result, folder, **changes):
    """A copy of a result that was made when the release had a certificate."""
    shutil.copytree(result, folder)
    document = json.loads((folder / "evaluation.json").read_text())
    section = {"annex": 3, "sha256": "ab" * 32, "sentence": "Better.", "confidence": 0.9, "population": 5}
    document["release"]["certificate"] = section | {"pixel_error": 0.002} | changes
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def page_and_table(board):
    return (board / "page/data.js").read_text(), (board / "leaderboard.md").read_text()


def test_without_a_certificate_it_says_that_no_human_has_checked_the_masks(board):
    render_board(board, "mae")
    for text in page_and_table(board):
        assert "No human has checked these masks" in text


def test_the_certificate_of_the_release_is_shown_and_what_it_explains(board, certified):
    before = (board / "board.json").read_bytes()
    render_board(board, "mae", str(certified))
    page, table = page_and_table(board)
    assert "Good *enough*." in page
    assert "**Good &#42;enough&#42;.**" in table
    for text in (page, table):
        assert "Label errors can explain a difference in MAE of up to 0.8000 between two models" in text
        assert "No two of these models differ by more" in text
    assert (board / "board.json").read_bytes() == before


def test_the_newest_certificate_that_an_entry_was_evaluated_with_is_shown_without_the_release(
    board, good, certified, tmp_path
):
    result = with_certificate(good, tmp_path / "later")
    add_result(result, board, name="Later", collection="COCO")
    assert {entry.certificate.annex for entry in read_board(board).entries if entry.certificate} == {3}
    for release in ("", str(certified)):  # which has annex 1 only
        render_board(board, "mae", release)
        page, table = page_and_table(board)
        assert "Better." in page
        # The good model is there twice; the poor one differs from it by far more.
        assert "1 of the 3 pairs of these models differ by no more than that." in table


def test_the_same_figures_after_a_certificate_was_made_are_the_same_result(board, good, tmp_path):
    result = with_certificate(good, tmp_path / "later")
    options = {"name": "Good & fast", "link": "https://example.org/(good)", "collection": "COCO"}
    assert not add_result(result, board, **options).is_new


def test_a_certificate_that_somebody_has_edited_is_named(board, good, tmp_path):
    result = with_certificate(good, tmp_path / "later", pixel_error=-1)
    with pytest.raises(CollectionError, match=r"the certificate in .*evaluation\.json is malformed"):
        add_result(result, board, name="Later", collection="COCO")
    path = next(board.glob("entries/good*/entry.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"certificate": {"annex": 1}}))
    with pytest.raises(CollectionError, match="is malformed: KeyError"):
        read_board(board)


def test_another_release_is_refused_before_anything_is_written(board, certified):
    path = certified / "release.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RunMismatchError, match="is another release"):
        render_board(board, "mae", str(certified))
    assert not (board / "leaderboard.md").exists()
