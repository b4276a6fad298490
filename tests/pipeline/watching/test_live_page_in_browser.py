"""The live page in a browser: nothing is refused by its own policy, it renews itself, and it fits a phone."""

import http.server
import threading
from functools import partial

import pytest

from pipeline.watching.live_page import live_page
from pipeline.watching.state import State
from tests.pipeline.watching.script import BEGAN_S, an_eventful_session

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    """A folder with a page that is written again and again, over HTTP as from a bucket."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    thread.join()
    server.server_close()


def write(folder, state, at_s=None):
    (folder / "index.html").write_bytes(live_page(state.summary(at_s), "/runs/coco", 5.0))


def opened(chromium, url, **options):
    page = chromium.new_page(**options)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != url else None)
    page.goto(url)
    return page, said


@pytest.mark.parametrize("width_px", [390, 1400])
def test_it_fits_and_neither_errs_nor_loads_anything(chromium, tmp_path, width_px):
    state = State(BEGAN_S)
    an_eventful_session([state], shards=100)
    write(tmp_path, state)
    url = (tmp_path / "index.html").as_uri()
    page, said = opened(chromium, url, viewport={"width": width_px, "height": 800})
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert page.locator("#theme").is_visible()
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") in ("light", "dark")
    page.locator("#rate .plot").hover()
    assert "images/s" in page.locator("#rate .readout").inner_text()
    page.close()


def test_it_renews_itself_while_the_work_goes_on_and_says_when_there_is_no_news(chromium, folder):
    place, url = folder
    state = State(BEGAN_S)
    an_eventful_session([state], ends=False)
    write(place, state)
    page, said = opened(chromium, url)
    assert "no news for" in page.locator("#state").inner_text()  # it is from a year ago
    ended = State(BEGAN_S)
    an_eventful_session([ended], shards=100)
    write(place, ended)
    page.locator("#state", has_text="all shards done").wait_for(timeout=30_000)
    assert page.title().startswith("100 %")
    assert said == []
    page.close()
