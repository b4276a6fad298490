"""The audit page as raters use it: in a browser, by keys, from a file and from its server.

No page here may write to its console, fail in a script, or load anything from elsewhere: `opened` checks that.
"""

import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.audit.adjudication import write_adjudication
from pipeline.audit.answers import Answer, add_answers, parse_answers, read_answers
from pipeline.audit.page.bundle import FOLDERS
from pipeline.audit.serve import audit_server
from pipeline.passes.mask_text import rle_of
from tests.pipeline.audit.conftest import HOSTILE, prepare_audit

VERDICTS = ("right", "fix", "wrong_object", "nothing_salient", "ambiguous", "skip")
KEYS = dict(zip(VERDICTS, "123456", strict=True))


@dataclass(repr=False)
class Seen:
    """A page in the browser, its console output and its requests."""

    page: object
    made: object
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, key, mode="judging"):
        self.page.wait_for_selector(f"#judging[data-mode={mode}][data-key='{key}']")

    def judge(self, *verdicts):
        """Give these verdicts, each when its image is open."""
        for verdict in verdicts:
            self.page.wait_for_selector("#judging[data-mode=judging]")
            self.press(KEYS[verdict])

    def text(self, place):
        return self.page.inner_text(place)

    def saved(self):
        """The answers of the file that the page lets a rater save."""
        with self.page.expect_download() as download:
            self.press("s") if self.page.is_visible("#judging") else self.page.click("#end-save")
        content = Path(download.value.path()).read_bytes()
        self.name = download.value.suggested_filename
        return parse_answers(content, self.name, self.made.audit.asked)


@pytest.fixture
def opened(chromium):
    """A function that opens the page of an audit, from its file or an address; several pages may share a context."""
    seen, contexts = [], []

    def open_page(made, place="", base=None, context=None, silent=True, **options):
        base = base or f"file://{made.path}/"
        if context is None:
            context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            contexts.append(context)
        found = Seen(context.new_page(), made)
        found.page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.said.append(f"error: {error}"))
        found.page.on("request", lambda request: found.asked.append(request.url))
        seen.append((found, base, silent))
        found.page.goto(f"{base}index.html{place}")
        return found

    yield open_page
    for found, base, silent in seen:
        assert [url for url in found.asked if not url.startswith((base, "blob:"))] == []
        assert not silent or found.said == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory, audited_release, hostile_instances):
    """An audit that tests share which save nothing in its folder."""
    return prepare_audit(tmp_path_factory.mktemp("shared") / "audit", audited_release, hostile_instances)


@contextmanager
def serving(made, port=0):
    with audit_server(made.path, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def told(answers):
    return [(answer.key, answer.verdict) for answer in answers]


# A rater's way through


def test_a_whole_run_by_keys(opened, made):
    seen, tasks = opened(made, "#rater-1"), made.tasks()
    given = ["right", "wrong_object", "nothing_salient", "ambiguous", "skip"]
    for place, (key, verdict) in enumerate(zip(tasks, given, strict=True)):
        seen.wait(key)
        assert seen.text("#count") == f"{place} of 5"
        # After some minutes the pace has more words than the bar has room for.
        seen.page.evaluate(
            "audit.at('pace').textContent = '11 s an image · 12 min worked · done at 10:57 PM '.repeat(2)"
        )
        assert seen.page.evaluate("audit.at('judging').scrollWidth <= innerWidth")
        seen.judge(verdict)
    seen.page.wait_for_selector("#end:not([hidden])")
    assert seen.text("#end-text").startswith("You have judged 5 images in ")
    assert seen.text("#end-counts") == "1 right · 1 wrong object · 1 nothing salient · 1 ambiguous · 1 skip"
    seen.page.click("#end-back")
    seen.wait(tasks[4])
    seen.press("d")
    seen.page.wait_for_selector("#end:not([hidden])")
    answers = seen.saved()
    assert seen.name == "answers-rater-1.jsonl"
    assert told(answers) == list(zip(tasks, given, strict=True))
    assert all(answer.rater == "rater-1" and answer.source == "page" and answer.answered for answer in answers)
    assert sum(answer.seconds for answer in answers) > 0


def test_answers_survive_a_reload_a_closed_tab_and_a_crash(opened, made, chromium):
    from playwright.sync_api import Error

    context = chromium.new_context()
    seen, tasks = opened(made, "#rater-1", context=context), made.tasks()
    seen.judge("right", "skip")
    seen.wait(tasks[2])
    seen.page.reload()
    seen.wait(tasks[2])
    seen.judge("ambiguous")
    seen.wait(tasks[3])
    seen.page.close()
    again = opened(made, "#rater-1", context=context, silent=False)
    again.wait(tasks[3])
    again.judge("wrong_object")
    again.wait(tasks[4])
    with pytest.raises(Error, match="crash"):
        again.page.goto("chrome://crash")
    last = opened(made, "#rater-1", context=context)
    last.wait(tasks[4])
    assert told(last.saved()) == list(zip(tasks, ["right", "skip", "ambiguous", "wrong_object"], strict=False))
    context.close()


def test_raters_share_a_browser_and_see_nothing_of_each_other(opened, made, chromium):
    context = chromium.new_context()
    one = opened(made, "#rater-1", context=context)
    one.judge("right", "right")
    one.wait(made.tasks()[2])
    other = opened(made, "#rater-2", context=context)
    other.wait(made.tasks("rater-2")[0])
    assert other.text("#count") == "0 of 5"
    assert other.page.locator(".given").count() == 0
    assert not any("rater-1" in url.split("#")[0] for url in other.asked)
    context.close()


def test_a_changed_answer_counts_and_the_first_stays_in_the_file(opened, made):
    seen, tasks = opened(made, "#rater-1"), made.tasks()
    seen.judge("right", "skip", "right")
    seen.wait(tasks[3])
    seen.press("a", "a")
    seen.wait(tasks[1])
    assert seen.text(".given").split("\n")[:2] == ["6", "Skip"]
    seen.judge("ambiguous")
    seen.wait(tasks[3])
    assert seen.text("#count") == "3 of 5"
    seen.press("a", "g")
    seen.wait(tasks[3])
    given = ["right", "skip", "right"]
    assert told(seen.saved()) == [*zip(tasks, given, strict=False), (tasks[1], "ambiguous")]


def test_a_fixed_mask_is_what_was_drawn(opened, made):
    seen, key = opened(made, "#rater-1"), made.tasks()[0]
    seen.wait(key)
    seen.press("2")
    seen.wait(key, "fixing")
    seen.press("Enter")
    assert seen.text("#note").startswith("This is the model's own mask")
    seen.press("n", "b")
    box = seen.page.locator("#stage").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    seen.page.mouse.click(*middle)
    seen.press("Enter")
    seen.wait(made.tasks()[1])
    (answer,) = seen.saved()
    assert answer.verdict == "fix"
    assert answer.mask != made.audit.masks()[key]
    seen.press("a", "2")
    seen.wait(key, "fixing")
    assert seen.page.evaluate("JSON.stringify(audit.page.drawn.toRle())") == json.dumps(
        answer.mask, separators=(",", ":")
    )
    seen.press("Escape")
    seen.wait(key)
    assert told(seen.saved()) == [(key, "fix")]


def test_the_next_image_is_loaded_before_it_is_needed(opened, made):
    seen, tasks = opened(made, "#rater-1"), made.tasks()
    seen.wait(tasks[0])
    for name in (f"images/{tasks[1]}.jpg", f"masks/{tasks[1]}.js", f"images/{tasks[2]}.jpg"):
        assert f"file://{made.path}/{name}" in seen.asked
    assert f"file://{made.path}/images/{tasks[4]}.jpg" not in seen.asked
    assert not any("/variance/" in url for url in seen.asked)


def test_a_browser_that_keeps_nothing_says_so_and_saves_a_file_all_the_same(opened, made, chromium):
    context = chromium.new_context()
    context.add_init_script(
        "IDBFactory.prototype.open = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    seen = opened(made, "#rater-1", context=context)
    seen.judge("right", "skip")
    seen.wait(made.tasks()[2])
    assert seen.text("#kept").startswith("Not kept: this browser stores nothing")
    assert [verdict for _, verdict in told(seen.saved())] == ["right", "skip"]
    context.close()


# What is shown


def test_the_start_screen_says_who_and_what_and_which_keys(opened, made):
    seen = opened(made)
    seen.page.wait_for_selector("#start:not([hidden])")
    assert seen.page.locator("a.rater").all_inner_texts() == ["rater-1", "rater-2", "adjudicator"]
    assert [text.split()[0] for text in seen.page.locator("#verdict-list dt").all_inner_texts()] == [*"123456"]
    assert "5 of its 5 masks were drawn by lot, and each rater judges a part of them" in seen.text(".lead")
    seen.press("Tab", "Enter")
    seen.wait(made.tasks()[0])


def test_whoever_has_no_tasks_gets_the_start_screen(opened, made):
    seen = opened(made, "#adjudicator", silent=False)
    assert seen.text(".notice:visible").startswith("Nothing waits for the adjudicator yet")
    for place in ("#rater-3", "#<img src=x onerror=alert(1)>", "#__proto__", "#%"):
        with seen.page.expect_navigation(wait_until="load", url=lambda _: True):
            seen.page.evaluate("place => { location.hash = place; }", place)
        seen.page.wait_for_selector("#start:not([hidden])")
        assert seen.page.locator(".notice:visible").count() == 0


def test_the_help_shows_every_key(opened, made):
    seen = opened(made, "#rater-1")
    seen.wait(made.tasks()[0])
    seen.press("?")
    seen.page.wait_for_selector("#help[open]")
    shown = seen.page.locator("#help kbd").all_inner_texts()
    keys = seen.page.evaluate(
        """audit.KEYS.filter((group) => !group.isAdjudicator)
            .flatMap((group) => group.keys.map(({ keys }) => audit.keyName(keys[0])))"""
    )
    assert sorted(shown) == sorted(keys)
    seen.press("1")
    seen.press("Escape")
    seen.wait(made.tasks()[0])
    assert seen.text("#count") == "0 of 5"


def test_the_keyboard_alone_reaches_the_buttons_and_shows_where_it_is(opened, made):
    seen = opened(made, "#rater-1")
    seen.wait(made.tasks()[0])
    seen.page.focus("[data-verdict=ambiguous]")
    seen.press("Shift+Tab")
    focused = "document.activeElement.dataset.verdict"
    assert seen.page.evaluate(focused) == "nothing_salient"
    assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    seen.press("Space")
    seen.wait(made.tasks()[1])
    assert told(seen.saved()) == [(made.tasks()[0], "nothing_salient")]


def shot(seen):
    seen.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(seen.page.locator("#stage").screenshot())).convert("RGB")).astype(int)


def test_a_mask_is_a_tint_an_outline_a_cut_out_or_hidden_while_a_key_is_held(opened, made):
    seen, key = opened(made, "#rater-1"), made.tasks()[0]
    seen.wait(key)
    fill = shot(seen)
    seen.page.keyboard.down("Space")
    bare = shot(seen)
    seen.page.keyboard.up("Space")
    assert (shot(seen) == fill).all()
    seen.press("w")
    outline = shot(seen)
    seen.press("e")
    cutout = shot(seen)
    seen.press("v")
    seen.page.wait_for_selector("[data-key=v][aria-pressed=true]")
    seen.page.keyboard.down("Space")
    variance = shot(seen)
    seen.page.keyboard.up("Space")
    share = {
        name: float((picture != bare).any(axis=-1).mean())
        for name, picture in {"fill": fill, "outline": outline, "cutout": cutout, "variance": variance}.items()
    }
    assert 0 < share["outline"] < share["fill"] < share["cutout"] + share["fill"]
    assert share["variance"] > 0.3
    assert seen.page.evaluate("document.querySelectorAll('[aria-pressed=true][data-key=v]').length") == 1
    seen.press("v")
    seen.page.wait_for_selector("[data-key=v][aria-pressed=false]")


@given(
    st.lists(
        st.tuples(st.sampled_from([120, -120, 40, -300]), st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
        min_size=1,
        max_size=6,
    )
)
def test_zooming_keeps_what_is_under_the_pointer_or_the_image_in_the_middle(zoomed, wheels):
    found = zoomed.page.evaluate(
        """wheels => {
            const { viewer } = audit.page, { stage } = viewer;
            viewer.fit();
            return wheels.map(([by, across, down]) => {
                const point = { x: across * stage.width(), y: down * stage.height() };
                const before = viewer.toImage(point);
                viewer.zoom(Math.exp(-by / 400), point);
                const after = viewer.toImage(point), corner = viewer.toImage({ x: 0, y: 0 });
                const end = viewer.toImage({ x: stage.width(), y: stage.height() });
                return { before, after, corner, end, size: viewer.size, scale: viewer.scale };
            });
        }""",
        wheels,
    )
    for step in found:
        size, device_px = (step["size"]["width"], step["size"]["height"]), 1.01 / step["scale"]
        for axis, length in zip("xy", size, strict=True):
            low, high = step["corner"][axis], step["end"][axis]
            middle = (low + high) / 2
            is_whole = high - low >= length - 1e-6
            assert (
                middle == pytest.approx(length / 2, abs=device_px)
                if is_whole
                else -device_px <= middle <= length + device_px
            )
            is_free = not is_whole and device_px < middle < length - device_px
            assert not is_free or step["after"][axis] == pytest.approx(step["before"][axis], abs=device_px)


@pytest.fixture(scope="module")
def zoomed(chromium, made):
    """A page whose view tests change."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    seen = Seen(context.new_page(), made)
    seen.page.goto(f"file://{made.path}/index.html#rater-1")
    seen.wait(made.tasks()[0])
    yield seen
    context.close()


def test_keys_fit_and_show_actual_size(zoomed):
    for ratio_key, scale in (("f", None), ("x", 1.0)):
        zoomed.press(ratio_key)
        found = zoomed.page.evaluate("[audit.page.viewer.scale, audit.page.viewer.isFitted]")
        assert found[1] is (scale is None)
        assert scale is None or found[0] == pytest.approx(scale)
    zoomed.press("f", *"++++++", "ArrowDown")
    assert zoomed.page.evaluate("audit.page.viewer.toImage({ x: 0, y: 0 }).y") > 0


@given(st.lists(st.integers(0, 200_000), max_size=12))
def test_pauses_of_more_than_a_minute_are_not_counted(zoomed, gaps):
    times = np.cumsum([0, *gaps]).tolist()
    worked = zoomed.page.evaluate(
        """times => {
            const clock = new audit.Clock();
            times.forEach((time) => clock.seen(time));
            return clock.take(times.at(-1));
        }""",
        times,
    )
    assert worked == sum(gap for gap in gaps if gap <= 60_000)


def test_hostile_texts_are_shown_as_texts(opened, made):
    seen, key = opened(made, "#rater-1"), made.tasks()[0]
    seen.wait(key)
    seen.press("2", "m")
    seen.page.wait_for_selector(".editor-instances button")
    assert seen.text(".editor-instances button") == HOSTILE
    assert seen.page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    seen.press("Escape")


@pytest.mark.parametrize("is_served", [True, False])
def test_an_image_that_is_missing_can_only_be_skipped(opened, prepared, is_served):
    made = prepared()
    first, second = made.tasks()[:2]
    (made.path / "images" / f"{first}.jpg").unlink()
    with serving(made) as server:
        seen = opened(made, "#rater-1", server.address if is_served else None, silent=False)
        seen.wait(first)
        assert "Skip it" in seen.text("#note")
        seen.press("1", "2", "6")
        seen.wait(second)
        assert told(seen.saved()) == [(first, "skip")]


# With the server


def test_two_raters_at_once_are_saved_as_they_judge(opened, prepared):
    made = prepared()
    with serving(made) as server:
        one, other = (opened(made, f"#{rater}", server.address) for rater in made.audit.plan.raters)
        for verdict in ("right", "skip", "ambiguous"):
            one.judge(verdict)
            other.judge("wrong_object")
        for seen in (one, other):
            seen.page.wait_for_selector("#kept:text-is('Saved')")
        found = read_answers(made.path, made.audit.asked)
        assert told(found["rater-1"]) == list(zip(made.tasks(), ("right", "skip", "ambiguous"), strict=False))
        assert told(found["rater-2"]) == [(key, "wrong_object") for key in made.tasks("rater-2")[:3]]
        assert not any("rater-1" in url.replace("#rater-1", "") for url in other.asked)


@pytest.mark.parametrize("is_served", [True, False])
def test_an_answer_is_called_saved_once_it_is_on_the_disk(opened, prepared, is_served):
    made = prepared()
    with serving(made) as server:
        seen = opened(made, "#rater-1", server.address if is_served else None)
        seen.wait(made.tasks()[0])
        assert not seen.page.evaluate("audit.page.isAtRisk")
        seen.page.evaluate(
            """() => {
                const slow = new Promise((done) => { audit.letGo = done; });
                IDBObjectStore.prototype.add = ((write) => function (...given) {
                    this.transaction.addEventListener("complete", (event) => {
                        if (event.isTrusted) event.stopImmediatePropagation();
                    });
                    slow.then(() => this.transaction.dispatchEvent(new Event("complete")));
                    return write.apply(this, given);
                })(IDBObjectStore.prototype.add);
            }"""
        )
        seen.judge("right")
        seen.wait(made.tasks()[1])
        assert seen.text("#kept") == "Saving …"
        assert seen.page.evaluate("audit.page.isAtRisk")
        seen.page.evaluate("audit.letGo()")
        seen.page.wait_for_selector(f"#kept:text-is('{'Saved' if is_served else 'Kept in this browser'}')")
        assert not seen.page.evaluate("audit.page.isAtRisk")
        assert not is_served or told(read_answers(made.path, made.audit.asked)["rater-1"]) == [
            (made.tasks()[0], "right")
        ]


def test_answers_and_images_wait_while_the_server_is_away(opened, prepared):
    made = prepared()
    tasks, given = made.tasks(), ("right", "skip", "right", "ambiguous")
    with serving(made) as server:
        port = server.server_port
        seen = opened(made, "#rater-1", server.address, silent=False)
        seen.judge(given[0])
        seen.wait(tasks[1])
        seen.page.wait_for_selector("#kept:text-is('Saved')")
        seen.page.wait_for_function(
            "keys => keys.every((key) => audit.page.loader.loaded.get(key)?.things)", arg=[tasks[2], tasks[3]]
        )
    seen.judge(*given[1:])
    seen.page.wait_for_selector("#kept:has-text('Server away: 3 waiting')")
    seen.page.wait_for_selector("#note:has-text('The server is away. This image opens once it is back.')")
    seen.press("1")
    assert len(read_answers(made.path, made.audit.asked)["rater-1"]) == 1
    with serving(made, port):
        seen.wait(tasks[4])
        assert not seen.page.is_visible("#note")
        seen.page.wait_for_selector("#kept:text-is('Saved')")
        assert told(read_answers(made.path, made.audit.asked)["rater-1"]) == list(zip(tasks, given, strict=False))
        fresh = opened(made, "#rater-1", f"http://127.0.0.1:{port}/")
        fresh.wait(tasks[4])
        assert fresh.text("#count") == "4 of 5"
        assert told(fresh.saved()) == told(read_answers(made.path, made.audit.asked)["rater-1"])


def test_an_answer_that_the_server_refuses_is_said(opened, prepared):
    made = prepared()
    with serving(made) as server:
        seen = opened(made, "#rater-1", server.address, silent=False)
        seen.wait(made.tasks()[0])
        seen.page.evaluate("audit.page.session.given.plan = '0'.repeat(64)")
        seen.judge("right")
        seen.page.wait_for_selector("#kept:has-text('The server refused an answer')")
        assert read_answers(made.path, made.audit.asked)["rater-1"] == []


# The third look


def make_answer(made, rater, key, verdict):
    height, width = made.audit.asked.sizes[key]
    mask = rle_of(np.indices((height, width))[0] < height // 2) if verdict == "fix" else None
    return Answer(plan=made.audit.plan.digest, rater=rater, key=key, verdict=verdict, mask=mask)


def test_the_adjudicator_takes_a_look_or_draws_her_own(opened, prepared):
    made = prepared()
    keys = [image.key for image in made.audit.plan.sample]
    for rater, verdicts in (("rater-1", ["right"] * 5), ("rater-2", ["fix", "wrong_object", "skip", "fix", "right"])):
        add_answers(made.path, rater, [make_answer(made, rater, *told) for told in zip(keys, verdicts, strict=True)])
    write_adjudication(made.path)
    content = (made.path / "tasks" / "adjudicator.js").read_text()
    tasks = json.loads(content.removeprefix("audit.tasks(").removesuffix(");\n"))["tasks"]
    fixed = next(look for look in tasks[0]["looks"] if look["verdict"] == "fix")
    seen = opened(made, "#adjudicator")
    seen.wait(keys[0])
    buttons = seen.page.locator("#looks .look")
    assert [text.split("\n")[1] for text in buttons.all_inner_texts()] == ["Take A", "Take B"]
    assert {text.split("\n")[2] for text in buttons.all_inner_texts()} == {"This mask is right."}
    seen.press("1")
    assert seen.text("#note").startswith("Take A or B")
    shown = set()
    for _ in range(3):
        shown.add(seen.text("#looks [data-key=c]"))
        seen.press("c")
    assert {text.split(": ")[1] for text in shown} == {"A and B", "A", "B"}
    seen.press({"A": "7", "B": "8"}[fixed["name"]])
    seen.wait(keys[1])
    assert {text.split("\n")[2] for text in buttons.all_inner_texts()} == {
        "This mask is right.",
        "No mask: wrong object.",
    }
    seen.judge("ambiguous")
    seen.wait(keys[2])
    assert [text.split("\n")[1] for text in buttons.all_inner_texts()] == ["Take A"]
    seen.press("7")
    seen.wait(keys[3])
    seen.press("2")
    seen.wait(keys[3], "fixing")
    assert seen.page.locator("[data-tool=release]").count() == 0
    seen.press("n", "b")
    box = seen.page.locator("#stage").bounding_box()
    seen.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.press("Enter")
    seen.page.wait_for_selector("#end:not([hidden])")
    answers = seen.saved()
    assert told(answers) == list(zip(keys, ["fix", "ambiguous", "right", "fix"], strict=False))
    assert answers[0].mask == fixed["mask"]
    assert answers[3].mask not in [look["mask"] for look in tasks[3]["looks"]]
    add_answers(made.path, "adjudicator", answers)
    assert write_adjudication(made.path).disputes == 0


def test_an_adjudicator_without_disputes_is_told(opened, prepared):
    made = prepared()
    write_adjudication(made.path)
    seen = opened(made, "#adjudicator")
    seen.page.wait_for_selector("#end:not([hidden])")
    assert seen.text("#end-text") == "There is nothing to judge here."
    assert not seen.page.is_visible("#end-save")


def test_the_page_has_no_folder_that_the_server_does_not_serve(made):
    assert {path.name for path in made.path.iterdir() if path.is_dir()} == set(FOLDERS)
