"""The page of audited images, as files and in a browser: every image with both outlines, sorted by how good it is."""

import dataclasses
import hashlib
import io
import re

import pytest
from PIL import Image

from pipeline.audit.annexed import certificate_files, derived_certificate
from pipeline.audit.audited.check import foreign_problem, preview_problems
from pipeline.audit.audited.page import page_files, preview_names, preview_px, previews
from pipeline.audit.drawn_files import IMAGE, drawn_files
from pipeline.release.check.page import is_asset
from pipeline.release.page.data import call
from tests.pipeline.audit.certified import judged_of
from tests.pipeline.release.page.test_files import HOSTILE

pytestmark = pytest.mark.usefixtures("fast_disk")
OF_RELEASE, SETTLED = (255, 240, 90), (63, 208, 255)


@pytest.fixture(scope="module")
def judged(audited_release):
    return judged_of(audited_release, images=5, overlap=0.4)


@pytest.fixture(scope="module")
def files(judged):
    return certificate_files(judged, derived_certificate(judged, missing_as_failures=True))


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_page_of_this_version_is_known(judged):
    page = {name: content for name, content in page_files(judged).items() if is_asset(name) or name == "index.html"}
    assert len(page) == 6
    unknown = [hashlib.sha256(page[name]).hexdigest() for name in page if foreign_problem(name, page[name], {})]
    assert unknown == [], "add these to pipeline/audit/audited/known.py, and keep what is there"


def test_previews_are_pictures_of_the_images_at_most_512_px_large(judged):
    names, found = preview_names(judged), dict(previews(judged))
    assert found.keys() == set(names.values())
    for key, name in names.items():
        row = judged.audited.rows[key]
        assert preview_px(row) == (row["width"], row["height"])
        assert list(preview_problems(found[name], row)) == []
    assert preview_px({"width": 1024, "height": 768}) == (512, 384)
    assert preview_px({"width": 1, "height": 9000}) == (1, 512)


def test_a_preview_shows_the_photo(judged, files):
    names = preview_names(judged)
    for key, members in drawn_files(judged.audited, names, (IMAGE,)):
        shown, photo = (
            Image.open(io.BytesIO(content)).convert("RGB") for content in (files[names[key]], members[IMAGE])
        )
        differences = [abs(a - b) for a, b in zip(shown.tobytes(), photo.tobytes(), strict=True)]
        assert sum(differences) / len(differences) < 12  # WebP at quality 70


def test_a_preview_of_another_size_is_found(judged):
    row, content = judged.audited.rows[judged.plan.sample[0].key], next(iter(previews(judged)))[1]
    assert "a preview of the image has 512 x 256" in next(preview_problems(content, {"width": 1000, "height": 500}))
    assert list(preview_problems(content[:-2], row))


def test_a_release_of_masks_alone_has_no_previews(judged):
    release = dataclasses.replace(judged.audited.stated.release, embed_images=False)
    stated = dataclasses.replace(judged.audited.stated, release=release)
    alone = dataclasses.replace(judged, audited=dataclasses.replace(judged.audited, stated=stated))
    assert (preview_names(alone), list(previews(alone))) == ({}, [])


# In a browser


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    return write(tmp_path_factory.mktemp("annex"), files)


@pytest.fixture
def opened(chromium):
    """A function that opens the page in a folder; nothing may go wrong, and nothing may be loaded from elsewhere."""
    seen = []

    def open_page(folder):
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{folder}/index.html")
        page.wait_for_selector("#main:not([hidden])")
        seen.append((page, folder, said, asked))
        return page

    yield open_page
    for page, folder, said, asked in seen:
        page.close()
        assert said == []
        assert [url for url in asked if not url.startswith(f"file://{folder}/")] == []


def keys_of(page):
    return page.eval_on_selector_all("#images li", "items => items.map(item => item.dataset.key)")


def colours_of(page, key):
    """How many pixels each of the two outlines has in the picture of an image."""
    page.wait_for_selector(f"li[data-key='{key}'] canvas[data-drawn]")
    pixels = page.evaluate(
        """key => {
            const canvas = document.querySelector(`li[data-key='${key}'] canvas`);
            const empty = new OffscreenCanvas(canvas.width, canvas.height);
            const copy = empty.getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
        }""",
        key,
    )
    found = list(zip(pixels[::4], pixels[1::4], pixels[2::4], strict=True))
    return found.count(OF_RELEASE), found.count(SETTLED)


def test_every_audited_image_is_there_the_worst_first(opened, folder, judged):
    page = opened(folder)
    by_iou = {outcome.key: outcome.iou for outcome in judged.outcomes}
    assert sorted(keys_of(page)) == sorted(by_iou)
    assert [by_iou[key] for key in keys_of(page)] == sorted(by_iou.values())
    page.select_option("#sort", "highest")
    assert [by_iou[key] for key in keys_of(page)] == sorted(by_iou.values(), reverse=True)
    page.select_option("#sort", "draw")
    assert keys_of(page) == list(by_iou)
    assert page.inner_text("#count") == "5 images"
    assert page.inner_text("#sentence").startswith("Of the 5 masks of ")


def test_images_are_filtered_by_verdict(opened, folder, judged):
    page = opened(folder)
    page.select_option("#verdict", "fix")
    (fixed,) = (outcome for outcome in judged.outcomes if outcome.verdict == "fix")
    assert keys_of(page) == [fixed.key]
    assert page.inner_text("#count") == "1 of 5 images"
    said = page.inner_text("#images li")
    assert "fixed" in said
    assert f"IoU {fixed.iou:.3f}" in said
    assert page.eval_on_selector("#images img", "image => image.decode().then(() => image.naturalWidth)") > 0


def test_both_outlines_are_drawn_and_each_can_be_hidden(opened, folder, judged):
    page = opened(folder)
    right, fixed = (next(o.key for o in judged.outcomes if o.verdict == verdict) for verdict in ("right", "fix"))
    of_release, settled = colours_of(page, fixed)
    assert min(of_release, settled) > 0
    assert colours_of(page, right)[1] == 0
    page.uncheck("#show-settled")
    assert colours_of(page, fixed) == (of_release, 0)
    page.uncheck("#show-mask")
    assert colours_of(page, fixed) == (0, 0)
    page.check("#show-settled")
    assert colours_of(page, fixed)[1] >= settled  # nothing covers it now


def test_an_unknown_image_says_that_it_counts_as_0(opened, folder, judged):
    page = opened(folder)
    (skipped,) = (outcome.key for outcome in judged.outcomes if outcome.verdict == "skip")
    assert "IoU unknown, counts as 0" in page.inner_text(f"li[data-key='{skipped}']")


def test_texts_of_data_are_text_and_run_nothing(opened, files, tmp_path):
    images = [
        {"key": text, "size": [20, 16], "photo": "", "stratum": text, "verdict": text, "adjudicated": True, "iou": 0,
         "known": True, "mask": {"size": [16, 20], "counts": "P:"}, "settled": None}
        for text in HOSTILE
    ]  # fmt: skip
    about = {"name": HOSTILE[0], "version": HOSTILE[1], "sentence": HOSTILE[0], "chunks": 1}
    hostile = {"page/audit-000.js": call("audited", {"images": images}), "certificate.js": call("certificate", about)}
    page = opened(write(tmp_path, files | hostile))
    assert page.text_content("#sentence") == HOSTILE[0]
    assert sorted(page.eval_on_selector_all("#images .card-key", "all => all.map(one => one.textContent)")) == sorted(
        HOSTILE
    )
    assert page.evaluate("document.querySelectorAll('main img, main script, main iframe, [onerror]').length") == 0
    assert "The photo is not part of the release" in page.inner_text("#images")


@pytest.mark.parametrize("gone", ["certificate.js", "page/audit-000.js"])
def test_a_page_whose_data_are_missing_says_so(chromium, files, tmp_path, gone):
    write(tmp_path, {name: content for name, content in files.items() if name != gone})
    page = chromium.new_page()
    page.goto(f"file://{tmp_path}/index.html")
    page.wait_for_selector("text=Files of this page are missing")
    page.close()


def test_the_page_forbids_scripts_and_pictures_from_elsewhere(files):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', files["index.html"].decode())[1]
    assert "default-src 'none'" in policy
    assert {"script-src 'self'", "img-src 'self'"} <= set(policy.split("; "))
