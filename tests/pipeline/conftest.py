"""What several tests of the pipeline need around them."""

import os
import shutil
from dataclasses import replace

import pytest

from pipeline.progress.stages import shown_by
from pipeline.release import contact_sheet
from pipeline.release.page import files as page_files
from pipeline.release.page import tiles
from tests.pipeline.progress.make import Recorder

SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def told():
    """Keeps the lines and stages that people would be shown during a test."""
    recorder = Recorder()
    with shown_by(recorder):
        yield recorder


@pytest.fixture(scope="module")
def fast_disk():
    """Power cuts are not simulated: every run would wait for the disk some thirty times. Nobody looks at its contact
    sheet either: it is tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(contact_sheet, "THUMBNAIL_PX", 16)
        yield


@pytest.fixture(scope="module")
def small_pages(fast_disk):
    """Tiles of releases, which took a third of a small run, are tiny. Of the twenty scripts and styles of a page, which
    are written in one loop, a few are: a session that ends at each of its writes takes half as many runs.

    Only for modules that make their releases themselves: a check of one with other tiles would find them wrong.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "LAYOUT", replace(tiles.LAYOUT, panel_px=16))
        patch.setattr(page_files, "_ASSETS", ("app.js", "gallery.css", "tiles.js"))
        patch.setattr(page_files, "_VENDOR", ("uPlot.LICENSE.txt",))
        yield


@pytest.fixture
def disk_events(monkeypatch):
    """("named", path) and ("synced", path), in order."""
    found = []

    def naming(name, target):
        change = getattr(os, name)

        def call(*paths, **options):
            change(*paths, **options)
            found.append(("named", os.path.abspath(os.fspath(paths[target]))))

        monkeypatch.setattr(os, name, call)

    for name, target in (("link", 1), ("rename", 1), ("replace", 1), ("mkdir", 0)):
        naming(name, target)

    def fsync(descriptor):
        found.append(("synced", os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.fixture(scope="module")
def chromium():
    """A browser for all tests of a module."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("no chromium, chromium-browser or google-chrome in PATH: the page was not tested in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=[*SWITCHES])
        yield browser
        browser.close()
