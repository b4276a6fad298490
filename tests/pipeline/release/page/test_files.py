"""Properties and examples of the page's files, without a browser."""

import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReleaseConfig
from pipeline.release.manifest import SCHEMA
from pipeline.release.page import data as page_data
from pipeline.release.page.data import Dictionary, call, rounded
from pipeline.release.page.files import PageAbout, page_about, page_files
from pipeline.release.page.names import LABELS
from pipeline.release.page.tiles import TILE_PX, TILES_PER_SHEET
from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.scores import SCORE_TABLE, SCORES
from pipeline.selection.verdicts import by_scores
from tests.pipeline.make import make_key, make_scores

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "\"'`${alert(1)}`\\",
    "\u2028\u2029\0]]>-->",
    "__proto__",
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=8)


def make_page_row(number=7, **overrides):
    """A manifest row with all columns; it has failed if only a `reason` is given."""
    key = make_key(number)
    row = {"key": key, "image_id": number, "file_name": f"{number}.jpg", "width": 20, "height": 16}
    row |= {"license_id": 1, "license_name": "CC BY", "license_url": "http://x/by", "verdict": "accepted", "reason": ""}
    row |= {"detail": "", "image_sha256": f"{number:064x}", "image_bytes": 1234, "members": 3, "fewer_at_once": 0}
    row |= {"split": "test", "tar": "data/test/test-00000-of-00001.tar", "mask_sha256": f"{number + 1:064x}"}
    row |= {"author": "", "source": "", "instances_ignored": 0, "sample_offset": 0, "sample_bytes": 4096}
    row |= {"maps_sha256": f"{number + 2:064x}", "frame": "stored", "exif_orientation": 1}
    row |= {"released_as": "original", "released_sha256": f"{number:064x}", "released_bytes": 1234}
    row |= {"instance_iou": None, "categories": [], "supercategory": "", **make_scores()}
    if "reason" in overrides and "verdict" not in overrides:
        row |= {"verdict": "failed", "members": 0, "split": "", "tar": "", "mask_sha256": "", "maps_sha256": ""}
        row |= {"frame": "", "exif_orientation": 0, "released_as": "", "released_sha256": "", "released_bytes": 0}
        row |= dict.fromkeys(SCORES)
    return row | overrides


def make_about(**overrides):
    fields = {"name": "masks", "version": "1.2.0", "members": "3", "embed_images": True, "policy": PolicyConfig()}
    return PageAbout(**fields | overrides)


def value_of(script, function):
    """The value with which a script calls a function of the page."""
    found = re.fullmatch(rf"sodPage\.{function}\((.*)\);\n", script.decode("ascii"))
    return json.loads(found[1])


def rows_of(found):
    """The rows in a page's scripts, with the columns that the gallery needs."""
    dictionaries = value_of(found["page/release.js"], "release")["dictionaries"]
    rows = []
    for name in sorted(name for name in found if name.startswith("page/data-")):
        chunk = value_of(found[name], "rows")
        assert chunk["first"] == len(rows)
        columns = chunk["columns"]
        for name in ("verdict", "reason", "split", "tar", "supercategory", "author", "licence"):
            columns[name] = [dictionaries[name][place] for place in columns[name]]
        columns["categories"] = [[dictionaries["category"][i] for i in places] for places in columns["categories"]]
        rows += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return rows


ROWS = st.builds(
    make_page_row,
    st.integers(0, 10**12 - 1),
    file_name=TEXTS,
    author=TEXTS,
    license_name=TEXTS,
    license_url=TEXTS,
    detail=TEXTS,
    supercategory=TEXTS,
    categories=st.lists(TEXTS, max_size=3),
    verdict=st.sampled_from(("accepted", "rejected")),
    reason=TEXTS,
    **dict.fromkeys(SCORE_TABLE, st.none() | FINITE),
)


# Properties


@given(st.lists(ROWS, max_size=6))
def test_whatever_texts_they_have_all_rows_are_in_the_scripts_and_none_in_the_html(rows):
    found = page_files(rows, make_about())
    assert found["index.html"] == page_files([], make_about())["index.html"].replace(
        b'<script defer src="page/release.js"></script>\n',
        b'<script defer src="page/release.js"></script>\n'
        + b'<script defer src="page/data-000.js"></script>\n' * bool(rows),
    )
    read = rows_of(found)
    assert len(read) == len(rows)
    for row, columns in zip(rows, read, strict=True):
        for name in columns.keys() - {*SCORE_TABLE, "licence"}:
            assert columns[name] == row[name]
        assert columns["licence"] == [row["license_id"], row["license_name"], row["license_url"]]


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_no_data_script_has_a_byte_that_could_end_it_early(rows):
    for name, content in page_files(rows, make_about()).items():
        if re.search(r"page/(data|details|release)", name):
            assert content.isascii()
            assert b"<" not in content
            assert b"\n" not in content[:-1]


@given(st.lists(ROWS, max_size=4))
def test_equal_rows_give_equal_bytes(rows):
    assert page_files(rows, make_about()) == page_files([dict(row) for row in rows], make_about())


@given(FINITE, st.lists(FINITE, max_size=3), st.floats(-1e-6, 1e-6))
def test_a_rounded_score_is_near_and_on_the_same_side_of_every_bound(score, bounds, nudge):
    near = score * (1 + nudge)
    for bound in [*bounds, score, *([near] if abs(near) < 1e300 else [])]:
        short = rounded(score, [*bounds, bound])
        assert (short <= bound, short >= bound) == (score <= bound, score >= bound)
        assert short == pytest.approx(score, rel=1e-4)


@given(st.lists(st.text() | st.integers(), max_size=8))
def test_a_dictionary_has_every_value_once_at_the_place_it_returned(values):
    dictionary = Dictionary()
    places = [dictionary.place(value) for value in values]
    assert [dictionary.values()[place] for place in places] == values
    assert len(set(dictionary.values())) == len(dictionary.values())


@given(
    st.fixed_dictionaries({name: st.floats(0, 1) for name in SCORES}),
    st.lists(st.sampled_from(("pairwise_iou>=0.5", "border<=0.3", "area>=0.2")), max_size=3),
)
def test_scores_accept_an_image_exactly_if_it_is_within_all_bounds_on_the_page(scores, thresholds):
    policy = PolicyConfig(max_variance=0.2, max_variance_per_area=0.6, thresholds=tuple(thresholds))
    accepted = by_scores(scores, policy).decision == "accepted"
    assert accepted == all(bound.passes(scores) for bound in bounds(policy))


# Examples


def test_rows_are_cut_into_chunks_and_the_page_loads_each(monkeypatch):
    monkeypatch.setattr(page_data, "CHUNK_ROWS", 4)
    rows = [make_page_row(number) for number in range(9)]
    found = page_files(rows, make_about())
    chunks = [f"page/data-00{number}.js" for number in range(3)]
    assert [name for name in found if "/data-" in name] == chunks
    scripts = re.findall(r'src="([^"]+)"', found["index.html"].decode())
    assert [name for name in scripts if "/data-" in name] == chunks
    assert set(scripts) <= found.keys()
    assert scripts.index("page/release.js") < scripts.index(chunks[0])
    assert scripts[-1] == "page/app.js"
    assert [row["key"] for row in rows_of(found)] == [row["key"] for row in rows]


def test_every_column_of_the_manifest_is_in_a_script():
    found = page_files([make_page_row()], make_about())
    columns = {*value_of(found["page/data-000.js"], "rows")["columns"]}
    columns |= {*value_of(found["page/details-000.js"], "details")["columns"]}
    assert {*SCHEMA.names} - columns == {"license_id", "license_name", "license_url"}


def test_unknown_columns_are_part_of_the_details():
    row = make_page_row(later=float("nan"), other=[1, "two"])
    details = value_of(page_files([row], make_about())["page/details-000.js"], "details")
    assert details["columns"]["later"] == [None]
    assert details["columns"]["other"] == [[1, "two"]]


def test_the_html_allows_only_scripts_and_styles_of_its_folder():
    html = page_files([], make_about())["index.html"].decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?://", html)


def test_the_page_of_a_release_without_photos_says_so():
    said = b"photos themselves are not part"
    assert said in page_files([], make_about(embed_images=False))["index.html"]
    assert said not in page_files([], make_about(embed_images=True))["index.html"]


def test_names_of_the_release_are_escaped():
    html = page_files([], make_about(name='<b>"&', version="</title>"))["index.html"].decode()
    assert "&lt;b&gt;&#34;&amp; &lt;/title&gt;</title>" in html
    assert "<b>" not in html


def test_every_link_leads_to_a_file_of_the_page_or_the_release():
    links = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: links.extend(
        value for name, value in attributes if name in ("href", "src")
    )
    found = page_files([], make_about())
    parser.feed(found["index.html"].decode())
    of_the_release = {"README.md", "manifest.parquet", "LICENSE", "licenses.csv", "NOTICE", "SHA256SUMS"}
    assert {link for link in links if not link.startswith("#")} - found.keys() == of_the_release
    assert b"LICENSE" not in page_files([], make_about(has_license=False))["index.html"]


def test_scripts_insert_texts_as_text_only():
    found = page_files([], make_about())
    ours = [content.decode() for name, content in found.items() if re.fullmatch(r"page/\w+\.js", name)]
    assert len(ours) > 5
    for script in ours:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_the_script_gets_the_bounds_of_the_policy_with_the_built_in_ones():
    policy = PolicyConfig(max_variance=0.01, thresholds=("pairwise_iou >= 0.9", "area<=inf"))
    found = value_of(page_files([], make_about(policy=policy))["page/release.js"], "release")["bounds"]
    assert {"score": "ensemble_variance", "sense": "<=", "bound": 0.01} in found
    assert {"score": "pairwise_iou", "sense": ">=", "bound": 0.9} in found
    assert [bound["bound"] for bound in found if bound["score"] == "area"] == [0.005, 0.95, 1.7976931348623157e308]
    assert found[:2] == [
        {"score": "area", "sense": ">=", "bound": 0.005},
        {"score": "area", "sense": "<=", "bound": 0.95},
    ]


def test_every_score_has_its_meaning_on_the_page():
    scores = value_of(page_files([], make_about())["page/release.js"], "release")["scores"]
    assert [(score["name"], score["meaning"]) for score in scores] == [
        (s.name, s.meaning) for s in SCORE_TABLE.values()
    ]


def test_the_script_knows_the_layout_of_the_sheets():
    tiles = value_of(page_files([], make_about())["page/release.js"], "release")["tiles"]
    assert (tiles["px"], tiles["per_sheet"], len(tiles["panels"])) == (TILE_PX, TILES_PER_SHEET, 4)


def test_scores_that_are_not_finite_are_none():
    assert [rounded(score, []) for score in (None, float("nan"), float("inf"), 0.123456789)] == [
        None,
        None,
        None,
        0.12346,
    ]


def test_characters_that_could_end_a_script_are_escaped():
    assert call("rows", "</script>\u2028é") == b'sodPage.rows("\\u003c/script>\\u2028\\u00e9");\n'


def test_what_a_page_says_follows_from_configuration_and_fingerprint():
    policy = PolicyConfig(max_variance=0.01)
    release = ReleaseConfig(name="masks", version="1.2.0", embed_images=False)
    about = page_about(release, policy, {"ensemble_size": "3", "weights": "…"})
    extensions = ("mask.png", "saliency.png", "variance.png", "json")
    assert about == make_about(embed_images=False, policy=policy, extensions=extensions)


def test_every_score_and_every_reason_of_a_policy_has_a_name_for_people():
    policy = PolicyConfig(max_variance=0.01, max_variance_per_area=0.1, min_area=0.1, max_area=0.9)
    assert {*SCORE_TABLE, *(bound.reason for bound in bounds(policy))} <= LABELS.keys()


def test_the_bundled_library_matches_its_note_and_comes_with_its_licence():
    folder = files("pipeline.release") / "page" / "vendor"
    stated = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M))
    assert stated.keys() == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt"}
    found = page_files([], make_about())
    for name, sha256 in stated.items():
        assert hashlib.sha256(found[f"page/vendor/{name}"]).hexdigest() == sha256
