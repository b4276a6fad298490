"""The page of a leaderboard in a real browser: sorting, intervals, and the images on which two models differ."""

import shutil

import pytest

from pipeline.errors import CollectionError, ConfigError
from pipeline.leaderboard.add import add_result
from pipeline.leaderboard.render import render_board
from tests.pipeline.release.test_newest_certificate import certify

HOSTILE_SENTENCE = "<b>Good</b> masks."
HOSTILE = "<img src=x onerror=alert(1)></script>"


def test_a_metric_that_is_none_is_named(board, tmp_path):
    with pytest.raises(ConfigError, match="--by beauty is no metric; there are mae, s_measure"):
        render_board(board, "beauty")
    with pytest.raises(CollectionError, match="is no leaderboard"):
        render_board(tmp_path / "nowhere", "mae")


@pytest.mark.slow
def test_the_page_sorts_and_shows_where_two_models_and_where_all_differ(board, good, released, chromium, tmp_path):
    add_result(good, board, name=HOSTILE, trained_on=HOSTILE, collection="COCO")
    certified = shutil.copytree(released.folder, tmp_path / "certified")
    certify(certified, HOSTILE_SENTENCE, 0.4)
    rendered = render_board(board, "s_measure", str(certified))
    errors = []
    page = chromium.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.goto(f"file://{rendered.page}")

    def models():
        return [name.strip() for name in page.locator("tbody th > :first-child").all_inner_texts()]

    assert models() == [HOSTILE, "Good & fast", "Poor model"]
    page.get_by_role("button", name="MAE ↓").click()
    assert models()[-1] == "Poor model"
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("MAE")
    assert page.locator("tbody svg").count() == 3 * 12
    notes = page.locator("#notes li").all_inner_texts()
    assert "trained on images of this collection (COCO)" in notes
    page.locator("#first").select_option(label="Good & fast")
    page.locator("#second").select_option(label="Poor model")
    assert page.locator("#strips li").count() == 5  # the missing prediction too: it is the worst one
    assert page.locator("#strips .none").count() == 1
    page.locator("#who").select_option(label="where the second is better")
    assert page.locator("#strips").inner_text() == "They differ on no image that is pictured."
    page.locator("#second").select_option(label=HOSTILE)
    page.locator("#who").select_option(label="the largest differences of these two")
    assert page.locator("#strips li.nothing").count() == 1  # the same maps under another name
    page.locator("#who").select_option(label="where all models disagree most")
    assert page.locator("#first").is_disabled()
    assert page.locator("#strips li").count() == 5
    spreads = []
    for strip in page.locator("#strips li").all():
        names = strip.locator("figcaption").all_inner_texts()
        assert names[:2] == ["photo", "mask"]
        assert len(names) == 2 + 3
        maes = [float(name.split()[-1]) for name in names[2:]]
        assert maes == sorted(maes)
        assert f"MAE from {maes[0]:.3f} to {maes[-1]:.3f}" in strip.inner_text()
        spreads.append(maes[-1] - maes[0])
    assert spreads == sorted(spreads, reverse=True)
    page.locator("#who").select_option(label="where the first is better")
    assert page.locator("#first").is_enabled()
    assert page.locator("#checked").inner_text() == HOSTILE_SENTENCE
    assert "could explain every difference in MAE here" in page.locator("#explained").inner_text()
    broken = page.evaluate("[...document.images].filter((image) => image.complete && !image.naturalWidth).length")
    page.close()
    assert (errors, broken) == ([], 0)
