"""The mask editor in a real browser: what is drawn is what numpy says it should be, and what is saved.

All tests share one page, on which each opens the editor anew. Nothing may be said on the console.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import label

from pipeline.passes.mask_text import rle_of
from tests.pipeline.audit.page.editor_bench import Bench, decoded, inside_of, stroke_of, write_bench

SHAPE = (300, 400)
"""Height and width of the image of most tests."""
EMPTY = np.zeros(SHAPE, dtype=bool)
MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=16))
SIDES = st.integers(-40, 240).map(lambda quarters: quarters / 4)
PLACES = st.tuples(SIDES, SIDES)


@pytest.fixture(scope="module")
def kept_bench(chromium, tmp_path_factory):
    folder = write_bench(tmp_path_factory.mktemp("editor"))
    bench = Bench(chromium.new_page(viewport={"width": 1000, "height": 600}))
    bench.page.goto(f"file://{folder}/index.html")
    return bench


@pytest.fixture
def bench(kept_bench):
    yield kept_bench
    assert kept_bench.said == []


def box(left, top, right, bottom, shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


# Pure functions


@given(st.lists(MASKS, min_size=1, max_size=20))
@settings(max_examples=12)
def test_run_lengths_are_byte_for_byte_those_of_pycocotools(kept_bench, masks):
    rles = [rle_of(mask) for mask in masks]
    found = kept_bench.page.evaluate("rles => thereAndBack(rles)", rles)
    for mask, rle, (pixels, again, is_agreed) in zip(masks, rles, found, strict=True):
        assert pixels == mask.T.ravel().tolist()
        assert again == rle
        assert is_agreed


def test_run_lengths_of_another_size_or_with_strange_letters_are_refused(bench):
    rles = [{"size": [2, 3], "counts": counts} for counts in ("6", "7", "5", "", "1~", "o", "ooooooooo0", "0?5", "é")]
    rles += [{"size": size, "counts": "6"} for size in ([3, 3], [0, 6], [-2, -3], [2**16, 2**16])]
    refused = bench.page.evaluate("rles => rles.map(isRefused)", rles)
    assert refused == [False] + [True] * (len(rles) - 1)


@given(st.lists(PLACES, min_size=1, max_size=4), st.integers(1, 60))
@settings(max_examples=30)
def test_a_stroke_covers_the_pixels_whose_centres_are_under_the_brush(kept_bench, points, diameter_px):
    shape = (40, 50)
    rle = kept_bench.page.evaluate(
        """([[height, width], points, diameter]) => {
            const made = new audit.MaskSurface(width, height);
            drawLine(made, 1, points, diameter);
            return made.toRle();
        }""",
        [shape, points, diameter_px],
    )
    mask = decoded(rle)
    assert not (stroke_of(shape, points, diameter_px, slack_px=-1e-6) & ~mask).any()
    assert not (mask & ~stroke_of(shape, points, diameter_px, slack_px=1e-6)).any()


@given(st.lists(PLACES, min_size=3, max_size=7))
@example([(20, 2), (32, 38), (1, 15), (39, 15), (8, 38)])  # a star, whose middle it winds around twice
@settings(max_examples=30)
def test_a_polygon_covers_the_pixels_whose_centres_it_winds_around(kept_bench, corners):
    shape = (40, 50)
    points = [{"x": x, "y": y} for x, y in corners]
    rle = kept_bench.page.evaluate(
        "([size, points]) => drawn(size, (span) => audit.shapes.polygon(points, span))", [shape, points]
    )
    inside, on_line = inside_of(shape, corners)
    assert not ((decoded(rle) != inside) & ~on_line).any()


@given(MASKS, st.sampled_from(["islands", "holes"]))
@settings(max_examples=25)
def test_pieces_are_those_of_scipy(kept_bench, mask, kind):
    under, all_pieces, but_largest = kept_bench.page.evaluate("args => piecesOf(...args)", [rle_of(mask), kind])
    labels, pieces = label(mask, np.ones((3, 3))) if kind == "islands" else label(~mask)
    open_ones = set() if kind == "islands" else {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]}
    areas = {piece: int((labels == piece).sum()) for piece in range(1, pieces + 1) if piece not in open_ones}
    for piece, got in zip(labels.ravel(), under, strict=True):
        smaller = [other for other, area in areas.items() if area <= areas.get(piece, 0)]
        assert (got is None) == (not smaller)
        if got:
            assert got[0] == len(smaller)
            assert (decoded(got[1]) == np.isin(labels, smaller)).all()
    assert (decoded(all_pieces) == np.isin(labels, list(areas))).all()
    assert decoded(but_largest).sum() == sum(areas.values()) - max(areas.values(), default=0)


NEAR = st.integers(-8, 72).map(lambda quarters: quarters / 4)
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.tuples(NEAR, NEAR), min_size=1, max_size=3), st.integers(1, 12)),
    max_size=8,
)
MOVES = st.integers(-70, 70)
TILES = np.indices((12, 16)).sum(axis=0) // 3 % 2 == 0


@given(MASKS, STEPS)
@settings(max_examples=25)
def test_undo_to_the_beginning_and_redo_to_the_end_give_the_same_bytes(kept_bench, mask, steps):
    done, undone, redone, seen = kept_bench.page.evaluate("args => history(...args)", [rle_of(mask), steps])
    assert done == undone == redone
    assert done[0] == rle_of(mask)["counts"]
    assert all(one != other for one, other in pairwise(done))
    assert seen == [True] * 3


@given(MASKS, st.tuples(NEAR, NEAR), st.floats(0.2, 5), STEPS, st.booleans(), st.tuples(MOVES, MOVES))
@example(TILES, (5, 5), 2.5, [(1, [(8, 6)], 3), (0, [(3, 4)], 1)], True, (7, -3))
@settings(max_examples=25)
def test_painting_or_moving_a_part_shows_the_same_as_painting_everything(
    kept_bench, mask, corner, scale, steps, is_outlined, move
):
    style = {"fill": [9, 8, 7, 255], "line": [1, 2, 3, 255] if is_outlined else None}
    style["outside"] = None if is_outlined else [4, 5, 6, 255]
    arguments = [rle_of(mask), corner, scale, steps, style, move]
    assert kept_bench.page.evaluate("args => paintings(...args)", arguments) == [True, True, True]


# With mouse and keys


def test_brush_and_eraser_draw_where_the_mouse_was_and_undo_goes_back_to_the_beginning(bench):
    bench.edit(EMPTY)
    bench.page.evaluate("editor.resize(31)")
    truth = stroke_of(SHAPE, bench.drag((50, 50), (200, 80), (180, 220)), 31)
    steps = [EMPTY, truth]
    bench.press("e")
    truth = truth & ~stroke_of(SHAPE, bench.drag((120, 20), (130, 290)), 31)
    steps.append(truth)
    truth = truth | stroke_of(SHAPE, bench.drag((300, 100), (320, 120), button="right"), 31)
    steps.append(truth)
    bench.press("b")
    [first] = bench.click((350, 250))
    bench.page.keyboard.down("Shift")
    [last] = bench.click((250, 280))
    bench.page.keyboard.up("Shift")
    steps += [truth | stroke_of(SHAPE, [first], 31), truth | stroke_of(SHAPE, [first, last], 31)]
    assert iou(bench.mask(), steps[-1]) == 1
    for step in reversed(steps[:-1]):
        bench.press("Control+z")
        assert iou(bench.mask(), step) == 1
    assert bench.page.is_disabled("[data-tool=undo]")
    bench.press(*["Control+Shift+Z"] * len(steps))
    assert iou(bench.mask(), steps[-1]) == 1
    assert bench.page.is_disabled("[data-tool=redo]")
    bench.press("Control+z")
    bench.click((20, 280))
    assert bench.page.is_disabled("[data-tool=redo]")


def test_polygon_and_lasso_add_and_remove_what_they_surround(bench):
    bench.edit(EMPTY)
    bench.press("p")
    corners = bench.click((50, 40), (300, 60), (390, 290), (200, 100), (350, 10))
    bench.press("Backspace", "Enter")
    truth = inside_of(SHAPE, corners[:4])[0]
    assert iou(bench.mask(), truth) == 1
    bench.click((10, 10), (100, 10), (100, 100))
    bench.press("Escape", "Enter")
    assert iou(bench.mask(), truth) == 1
    bench.press("x")
    corners = bench.click((60, 30), (120, 30), (120, 120), (62, 120), (70, 70))
    bench.press("Control+z")
    bench.click((60, 30))
    truth &= ~inside_of(SHAPE, corners[:4])[0]
    assert iou(bench.mask(), truth) == 1
    bench.press("l")
    truth &= ~inside_of(SHAPE, bench.drag((200, 50), (260, 60), (240, 120), (210, 110)))[0]
    truth |= inside_of(SHAPE, bench.drag((20, 200), (90, 210), (60, 290), button="right"))[0]
    assert iou(bench.mask(), truth) == 1
    bench.press(*["Control+z"] * 4)
    assert not bench.mask().any()


def test_instances_of_the_annotations_are_added_removed_and_put_in_the_masks_place(bench):
    dog, cat, mask = box(50, 50, 200, 200), box(100, 100, 300, 120), box(0, 0, 30, 30)
    bench.edit(mask, dog=dog, cat=cat)
    bench.press("m")
    bench.click((150, 110))
    assert (bench.mask() == mask | cat).all()
    bench.click((60, 60))
    assert (bench.mask() == mask | cat | dog).all()
    bench.click((150, 110), button="right")
    assert (bench.mask() == (mask | dog) & ~cat).all()
    bench.click((350, 250))
    assert (bench.mask() == (mask | dog) & ~cat).all()
    bench.page.evaluate(
        "globalThis.entered = 0; addEventListener('keydown', ({ key }) => { entered += key === 'Enter' })"
    )
    bench.press("m", "m", "Shift+Enter")
    assert (bench.mask() == cat).all()
    bench.page.mouse.move(*bench.screen((60, 60))[0])
    assert bench.page.evaluate("entered") == 0
    bench.press("Enter")  # is the page's again, although the pointer is on an instance
    assert bench.page.evaluate("entered") == 1
    assert (bench.mask() == cat).all()
    bench.press("x")
    bench.page.click("text=dog")
    assert (bench.mask() == cat & ~dog).all()
    bench.press("n")
    assert not bench.mask().any()
    bench.press("r")
    assert (bench.mask() == mask).all()


def test_holes_are_filled_and_islands_removed_up_to_the_size_of_the_clicked_one(bench):
    large, small, island, speck = box(60, 60, 100, 100), box(120, 60, 130, 70), box(300, 200, 330, 230), box(5, 5, 9, 9)
    mask = box(50, 50, 250, 250) & ~large & ~small | island | speck
    bench.edit(mask)
    bench.press("h")
    bench.click((125, 65))
    assert (bench.mask() == mask | small).all()
    bench.press("h")
    assert (bench.mask() == mask | small | large).all()
    bench.press("Control+z", "Control+z", "i")
    bench.click((7, 7))
    assert (bench.mask() == mask & ~speck).all()
    bench.press("i")
    assert (bench.mask() == mask & ~speck & ~island).all()


def test_the_size_of_the_brush_changes_by_keys_wheel_and_field_and_space_pans_without_drawing(bench):
    bench.edit(EMPTY)
    size = "Number(document.querySelector('[aria-label=\"Diameter in image pixels\"]').value)"
    bench.press("]")
    assert bench.page.evaluate(size) == 47
    bench.press("[", "[")
    assert bench.page.evaluate(size) == 32
    bench.page.mouse.move(*bench.screen((200, 150))[0])
    bench.page.keyboard.down("Alt")
    bench.page.mouse.wheel(0, -100)
    bench.page.keyboard.up("Alt")
    bench.page.wait_for_function(f"{size} === 37")
    assert bench.page.evaluate("viewer.scale") == pytest.approx(bench.scale)
    bench.page.fill("input[type=number]", "90")
    bench.press("Enter", "e")
    assert bench.page.evaluate("[editor.size, editor.tool]") == [90, "eraser"]
    bench.page.fill("input[type=number]", "99999")
    bench.press("Enter", "b")
    assert bench.page.evaluate("editor.size") == 2000
    for _ in range(8):
        bench.press("x")  # every second one is the brush
    bench.page.evaluate("viewer.zoom(4)")
    before = bench.page.evaluate("viewer.stage.position()")
    bench.page.keyboard.down(" ")
    bench.drag((200, 150), (180, 150), (150, 150))
    bench.page.keyboard.up(" ")
    after = bench.page.evaluate("viewer.stage.position()")
    assert after["x"] < before["x"] - 20
    assert not bench.mask().any()
    bench.drag((200, 150), (180, 150))
    assert bench.mask().any()


def test_a_finger_draws_and_does_not_pan(bench):
    bench.edit(EMPTY)
    bench.page.evaluate("editor.resize(20)")
    before = bench.page.evaluate("viewer.stage.position()")
    touch = bench.page.context.new_cdp_session(bench.page)
    on_screen = bench.screen((100, 100), (200, 150), (210, 250))
    for kind, place in zip(("touchStart", "touchMove", "touchMove"), on_screen, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [dict(zip("xy", place, strict=True))]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert iou(bench.mask(), stroke_of(SHAPE, bench.image(on_screen), 20)) == 1
    assert bench.page.evaluate("viewer.stage.position()") == before


def test_every_tool_has_a_key_a_name_and_a_button_that_can_be_reached_without_a_mouse(bench):
    bench.edit(box(0, 0, 100, 100), dog=box(0, 0, 50, 50))
    tools = bench.page.eval_on_selector_all(
        ".editor-bar [data-tool]",
        """all => all.map((one) => {
            const { dataset, ariaLabel, ariaKeyShortcuts } = one;
            return [dataset.tool, ariaLabel, ariaKeyShortcuts, one.querySelector("kbd").textContent];
        })""",
    )
    names = [name for name, *_ in tools]
    assert names == [
        "brush",
        "eraser",
        "polygon",
        "lasso",
        "instance",
        "holes",
        "islands",
        "undo",
        "redo",
        "empty",
        "release",
    ]
    assert all(label and keys and shown for _, label, keys, shown in tools)
    assert len({keys for _, _, keys, _ in tools}) == len(tools)
    for name, _, key, _ in tools[:7]:
        bench.press(key)
        assert bench.page.eval_on_selector_all(
            "[data-tool][aria-pressed=true]", "all => all.map((one) => one.dataset.tool)"
        ) == [name]
    bench.page.focus("[data-tool=lasso]")
    bench.press("Enter")
    assert bench.page.evaluate("editor.tool") == "lasso"


def test_escape_gives_up_a_stroke_and_leaves_only_when_pressed_again_after_drawing(bench):
    bench.edit(EMPTY)
    bench.page.evaluate("globalThis.left = 0; addEventListener('keydown', ({ key }) => { left += key === 'Escape' })")
    bench.page.mouse.move(*bench.screen((100, 100))[0])
    bench.page.mouse.down()
    bench.press("Escape")
    bench.page.mouse.move(*bench.screen((200, 100))[0])
    bench.page.mouse.up()
    assert not bench.mask().any()
    bench.click((100, 100))
    bench.press("Escape")
    assert bench.page.evaluate("left") == 0
    assert "once more" in bench.page.inner_text("#hint")
    bench.press("Escape")
    assert bench.page.evaluate("left") == 1


def test_a_stopped_editor_leaves_nothing_behind(bench):
    bench.edit(EMPTY)
    bench.page.evaluate("editor.stop()")
    bench.drag((100, 100), (200, 100))
    bench.press("n", "Control+z")
    assert not bench.mask().any()
    assert bench.page.evaluate(
        "[document.querySelectorAll('[class^=editor]').length, viewer.layer.getChildren().length, Konva.dragButtons]"
    ) == [0, 0, [0, 1]]
    bench.page.evaluate("editor.start()")


@pytest.mark.slow
def test_an_image_of_twelve_megapixels_is_drawn_on_undone_and_saved(bench):
    mask = box(1000, 600, 3000, 2400, (3000, 4000))
    bench.edit(mask)
    bench.page.evaluate("editor.resize(401)")
    points = bench.drag((500, 500), (3500, 700))
    found = bench.page.evaluate("surface.toRle()")
    drawn = decoded(found)
    assert rle_of(drawn) == found
    near = np.s_[200:1000, 200:3800]
    truth = mask[near] | stroke_of((800, 3600), [(x - 200, y - 200) for x, y in points], 401)
    assert iou(drawn[near], truth) > 0.999_99
    drawn[near] = mask[near]
    assert (drawn == mask).all()
    bench.press("Control+z")
    assert bench.page.evaluate("surface.toRle()") == rle_of(mask)
    assert bench.page.evaluate("surface.historyBytes") < 20_000


def iou(one, other):
    return (one & other).sum() / max((one | other).sum(), 1) if (one | other).any() else 1
