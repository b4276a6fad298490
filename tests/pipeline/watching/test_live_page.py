"""The live page: what it says, that it loads nothing, and that no text from outside becomes markup."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replicas import events
from pipeline.replicas.events import Pulse
from pipeline.watching.charts import MOST_ROWS, lanes, rates, span_s, time_ticks
from pipeline.watching.live_page import live_page
from pipeline.watching.pictures import Picture
from pipeline.watching.state import State
from tests.pipeline.watching.script import BEGAN_S, an_eventful_session

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


class Parsed(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def eventful(**options):
    state = State(BEGAN_S)
    an_eventful_session([state], **options)
    return state


def page_of(state, at_s=None, pictures=(), folder="s3://bucket/run"):
    return live_page(state.summary(at_s), folder, 15.0, pictures).decode()


@pytest.fixture(scope="module")
def page():
    return page_of(eventful(shards=100))


def test_the_page_loads_nothing(page):
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    sources = [value for name, value in Parsed(page).attributes if name in ("src", "href")]
    assert all(source.startswith("data:") for source in sources)


def test_its_own_script_is_the_only_one_that_may_run(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_it_says_what_happened(page):
    text = " ".join("".join(Parsed(page).text).split())
    for said in (
        "of 8,960 are committed, 100.0 %",
        "all shards done",
        "its node was taken back",
        "CUDA error: uncorrectable ECC error encountered",
        "000000017178",
        "gpu-node-2 is gone",
        "too large",
    ):
        assert said in text, said


def stopped():
    """A session that was stopped while its replicas worked."""
    state = State(BEGAN_S)
    script = an_eventful_session([state], ends=False)
    running = "".join(Parsed(page_of(state)).text)
    state(events.WorkEnded(at_s=script.now_s, reason="asked to stop"))
    return running, "".join(Parsed(page_of(state)).text)


def test_what_has_ended_shows_no_life():
    running, ended = stopped()
    for life in (" working", " in work", "Replicas now", "finished, not yet committed"):
        assert life in running, life
        assert life not in ended, life
    for said in ("at the end", "Replicas at the end", "197 left at the end", "Had in hand"):
        assert said in ended, said
        assert said not in running, said


@pytest.mark.parametrize("may_release", [True, False])
def test_once_all_is_done_it_says_what_comes_next_and_of_a_score_pass_nothing_does(may_release):
    state = State(BEGAN_S)
    an_eventful_session([state], ends=False, shards=20)
    assert "All shards are done." not in live_page(state.summary(), "/runs/a", 15.0, may_release=True).decode()
    state(events.WorkEnded(at_s=BEGAN_S, reason=""))
    page = live_page(state.summary(), "/runs/a", 15.0, may_release=may_release).decode()
    assert ("sod status /runs/a" in page) == may_release


def test_replicas_that_only_waited_make_no_bar_shorter():
    state = State(BEGAN_S)
    state(events.ReplicaPlaced(at_s=BEGAN_S, replica="r0", node="a", pid=1))
    state(events.ReplicaEnded(at_s=BEGAN_S, replica="r0", cause="process", said=""))
    for number in range(1, 10):
        state(events.ReplicaEnded(at_s=BEGAN_S, replica=f"r{number}", cause="surplus", said=""))
    assert '<span style="width:100.00%"></span></td><td class="number">1</td>' in page_of(state)


def test_texts_from_outside_are_never_markup():
    state = State(BEGAN_S)
    at = {"at_s": BEGAN_S + 1}
    state(events.WorkBegan(**at, images=10, settled=0, shards=3))
    state(events.NodeSetAside(**at, node=f"bad{EVIL}", reason=EVIL))
    state(events.ReplicaPlaced(**at, replica="r0", node=f"good{EVIL}", pid=1))
    state(events.ReplicaReady(**at, replica="r0", device=EVIL))
    state(events.ShardBegun(**at, replica="r0", shard=EVIL))
    state(
        events.ShardCommitted(
            **at, replica="r0", shard=EVIL, outcomes={EVIL: 1}, failures={EVIL: 1}, computed=1, seconds=1
        )
    )
    state(events.ImageBlamed(**at, key=EVIL))
    state(events.ReplicaEnded(**at, replica="r0", cause="process", said=EVIL))
    state(events.WorkEnded(**at, reason=EVIL))
    picture = Picture(key=EVIL, verdict="rejected", reason=EVIL, variance=0.1, width_px=1, height_px=1, webp="")
    page = page_of(state, BEGAN_S + 9, [picture], folder=f"/tmp/{EVIL}")
    assert page.count("<script") == 2
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert not [name for name, _ in Parsed(page).attributes if name.startswith("on")]


def test_a_password_in_the_folder_is_not_shown():
    assert "hunter2" not in page_of(State(BEGAN_S), folder="s3://me:hunter2@bucket/run")


def test_before_anything_has_happened_the_page_is_whole():
    text = "".join(Parsed(page_of(State(BEGAN_S))).text)
    assert "No replica yet" in text


def test_a_running_page_asks_to_be_read_again_and_a_finished_one_does_not(page):
    assert 'http-equiv="refresh"' in page_of(State(BEGAN_S))
    assert 'http-equiv="refresh"' not in page


def test_colours_are_those_of_the_page_of_a_release():
    def palette(package, name):
        return dict(re.findall(r"--(\w[\w-]*): (light-dark\(.*\));", (files(package) / "page" / name).read_text()))

    of_release = palette("pipeline.release", "style.css")
    own = palette("pipeline.watching", "live.css")
    assert [name for name, colour in of_release.items() if own[name] != colour] == []
    assert len(of_release) > 10


def test_a_thousand_replicas_are_a_page_of_bounded_size():
    state = State(BEGAN_S)
    state(events.WorkBegan(at_s=BEGAN_S, images=10**6, settled=0, shards=10**4))
    for number in range(1000):
        state(events.ReplicaPlaced(at_s=BEGAN_S, replica=f"r{number}", node=f"n{number // 8}", pid=number))
        state(events.ReplicaReady(at_s=BEGAN_S, replica=f"r{number}", device="cuda"))
    for step in range(1, 20):
        pulses = {f"r{number}": Pulse(images=step * (number % 7)) for number in range(1000)}
        state(events.Pulses(at_s=BEGAN_S + 90 * step, pulses=pulses, waiting=9))
    page = page_of(state)
    assert len(page) < 400_000
    assert f"{1000 - MOST_ROWS:,} more replicas are not drawn" in page
    assert "and 800 more" in page


@given(st.floats(0, 10**7))
def test_charts_are_within_their_width_however_long_a_session_takes(seconds):
    state = State(BEGAN_S)
    state(events.ReplicaPlaced(at_s=BEGAN_S + seconds / 9, replica="r0", node="a", pid=1))
    state(events.ReplicaReady(at_s=BEGAN_S + seconds / 4, replica="r0", device="cpu"))
    state(events.Pulses(at_s=BEGAN_S + seconds / 2, pulses={"r0": Pulse(images=9)}, waiting=0))
    state(events.ReplicaEnded(at_s=BEGAN_S + seconds * 0.75, replica="r0", cause="process", said=""))
    summary = state.summary(BEGAN_S + seconds)
    assert 1 <= len(time_ticks(summary)) <= 9
    assert all(0 <= tick.at <= 100 for tick in time_ticks(summary))
    points = [tuple(map(float, point.split(","))) for point in rates(summary).line.split()]
    assert all(0 <= x <= 100.01 and -0.01 <= y <= 100.01 for x, y in points)
    assert all(one[0] <= other[0] for one, other in pairwise(points))
    (lane,), left_out = lanes(summary)
    cells = [cell for row in lane.rows for cell in row.cells]
    assert left_out == 0
    assert all(cell.left >= 0 and cell.left + cell.width <= 100.01 for cell in cells)
    assert all(one.left + one.width <= other.left + 1e-6 for one, other in pairwise(cells))
    assert span_s(summary) > 0


def test_a_replica_takes_the_row_of_one_that_ended_before():
    state = State(BEGAN_S)
    for number in range(3):
        state(events.ReplicaPlaced(at_s=BEGAN_S + 100 * number, replica=f"r{number}", node="a", pid=1))
        if number == 2:
            state(events.ReplicaPlaced(at_s=BEGAN_S + 250, replica="r3", node="a", pid=1))
        state(events.ReplicaEnded(at_s=BEGAN_S + 100 * number + 90, replica=f"r{number}", cause="process", said=""))
    ((lane,), _) = lanes(state.summary())
    assert [row.replica for row in lane.rows] == ["r2", "r3"]
    assert [end.replica for end in lane.rows[0].ends] == ["r0", "r1", "r2"]
