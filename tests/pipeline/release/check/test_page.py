"""A page of another version of the tool may say other words, but runs nothing that is not known; the rest is named."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.tars import encode_json
from pipeline.release.check import page as page_check
from pipeline.release.check.page import asset_problem, data_problem, html_problems, is_asset
from pipeline.release.check.verify import verify_release
from pipeline.release.page.data import call
from pipeline.release.page.files import page_files
from pipeline.release.page.known import KNOWN_ASSETS
from tests.pipeline.release.editing import mend_sums, mend_texts
from tests.pipeline.release.page.test_files import make_about, make_page_row

PAGE = page_files([make_page_row()], make_about())
ASSETS = [name for name in PAGE if is_asset(name)]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)
INJECTIONS = [
    ("</main>", "<script>alert(1)</script></main>"),
    ("</main>", '<script src="https://evil.example/x.js"></script></main>'),
    ("</main>", '<script defer src="data/test/index.json"></script></main>'),
    ("</main>", '<img src="x" onerror="alert(1)"></main>'),
    ("</main>", '<iframe src="https://evil.example"></iframe></main>'),
    ("</main>", '<svg><script href="data:,alert(1)"/></svg></main>'),
    ("</main>", "<!-- --!><script>alert(1)</script> --></main>"),
    ("</main>", "<style>*{background:url(https://evil.example)}</style></main>"),
    ('<main id="main"', '<main onclick="alert(1)" id="main"'),
    ('<main id="main"', '<main style="background:red" id="main"'),
    ('href="README.md"', 'href="https://evil.example/README.md"'),
    ('href="README.md"', 'href="javascript:alert(1)"'),
    ('href="page/style.css"', 'href="https://evil.example/style.css"'),
    ("script-src 'self'", "script-src 'self' 'unsafe-inline'"),
    ("script-src 'self'", "script-src *"),
    ('http-equiv="Content-Security-Policy"', 'http-equiv="refresh"'),
    ('content="no-referrer"', 'content="unsafe-url"'),
    ('<meta charset="utf-8">', '<meta charset="utf-7">'),
    ('<meta charset="utf-8">', '<base href="https://evil.example"><meta charset="utf-8">'),
]  # fmt: skip


@pytest.fixture
def copy(released, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    return folder


def claim_another_version(folder):
    stated = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_bytes(encode_json(stated | {"texts": "0" * 64}))
    mend_sums(folder)


def html_said(content):
    return list(html_problems(content, PAGE["index.html"], PAGE))


# Scripts and styles


def test_the_page_of_this_version_is_known():
    assert len(ASSETS) == 21
    unknown = {name: hashlib.sha256(PAGE[name]).hexdigest() for name in ASSETS if asset_problem(name, PAGE[name])}
    assert unknown == {}, "add these to pipeline/release/page/known.py, and keep what is there"


def test_the_known_digests_are_digests_of_scripts_and_styles():
    assert all(is_asset(name) for name in KNOWN_ASSETS)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digests in KNOWN_ASSETS.values() for digest in digests)


@given(st.sampled_from(ASSETS), st.data())
def test_a_script_or_style_with_a_byte_more_or_another_name_is_unknown(name, data):
    place = data.draw(st.integers(0, len(PAGE[name])))
    assert asset_problem(name, PAGE[name][:place] + b";" + PAGE[name][place:])
    assert asset_problem("page/other.js", PAGE[name])


# Data


@given(VALUES, st.sampled_from(["release", "rows", "details"]))
def test_a_call_with_data_is_harmless(value, function):
    assert data_problem(call(function, value)) == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"alert(1)", b"sodPage.rows({});alert(1);\n", b"sodPage.rows(alert(1));\n", b"sodPage.other({});\n",
     b'sodPage.rows({"a":1});\nsodPage.rows({});\n', b'sodPage.rows("</script>");\n', "sodPage.rows('é');\n".encode(),
     b"sodPage.rows(NaN);\n", b"sodPage.rows({a:1});\n", b"sodPage.rows(" + b"[" * 10**5 + b");\n"],
    ids=range(11),
)  # fmt: skip
def test_what_is_more_than_a_call_with_data_is_found(content):
    assert data_problem(content).startswith("is more than a call with the page's data")


# HTML


def test_the_html_of_this_version_is_harmless_whatever_the_release_is_called():
    assert html_said(PAGE["index.html"]) == []
    other = page_files([make_page_row()], make_about(version="9", members="5 to 10", embed_images=False))["index.html"]
    assert other != PAGE["index.html"]
    assert html_said(other) == []


@pytest.mark.parametrize(("old", "new"), INJECTIONS, ids=range(len(INJECTIONS)))
def test_html_that_could_load_or_run_anything_foreign_is_found(old, new):
    html = PAGE["index.html"].decode()
    assert old in html
    assert html_said(html.replace(old, new, 1).encode())


@pytest.mark.parametrize("place", ["</head>", "nowhere"])
def test_html_that_forbids_foreign_scripts_late_or_never_is_found(place):
    html = PAGE["index.html"].decode()
    policy = re.search("<meta http-equiv=[^\n]*", html)[0]
    without = html.replace(policy, "")
    assert html_said(without.replace(place, policy + place).encode()) == [
        "does not forbid foreign scripts before its first script"
    ]


@given(st.text("<>/='\" abcdefscript!-&;", max_size=30), st.data())
def test_text_in_the_html_is_harmless_only_if_it_has_no_markup(text, data):
    html = PAGE["index.html"].decode()
    place = data.draw(st.sampled_from([found.end() for found in re.finditer("<p[^>]*>", html)]))
    said = html_said((html[:place] + text + html[place:]).encode())
    if "<" not in text:
        assert said == []
    elif not re.search("<(a|p|main|section|header|h[1-6]|b|strong|span|div)?[ />]", text):
        assert said


# In releases whose forger mended everything else


def test_a_version_that_writes_the_same_leaves_nothing_unchecked(copy):
    claim_another_version(copy)
    check = verify_release(str(copy))
    assert (check.problems, check.unchecked) == ((), ())
    assert "made with another version of this tool" in check.notes[0]


def test_words_of_another_version_are_no_problem_but_are_counted_and_named(copy):
    for name, old in (("README.md", "No human"), ("NOTICE", "Every image"), ("index.html", "No human")):
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, "In other words"))
    claim_another_version(copy)
    check = verify_release(str(copy))
    assert check.problems == ()
    assert [unchecked.where for unchecked in check.unchecked] == ["NOTICE", "README.md", "index.html"]
    assert {unchecked.what for unchecked in check.unchecked} == {
        "what it says was not compared: another version of this tool wrote it"
    }


def test_a_page_of_other_scripts_is_sound_if_some_version_had_them(copy, monkeypatch):
    (copy / "page/style.css").write_text("/* of another time */")
    (copy / "page/detail.js").rename(copy / "page/record.js")
    for name in ("release.json", "index.html"):
        (copy / name).write_text((copy / name).read_text().replace("page/detail.js", "page/record.js"))
    claim_another_version(copy)
    known = {name: frozenset({sha256_of(copy / name)}) for name in ("page/style.css", "page/record.js")}
    assert {problem.where for problem in verify_release(str(copy)).problems} == known.keys()
    monkeypatch.setattr(page_check, "KNOWN_ASSETS", KNOWN_ASSETS | known)
    assert verify_release(str(copy)).problems == ()
    (copy / "page/record.js").write_text("other();")
    assert {problem.where for problem in verify_release(str(copy)).problems} == {"page/record.js"}


def sha256_of(path: Path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("page/app.js", '"use strict";', '"use strict"; alert(1);'),
        ("page/vendor/uPlot.iife.min.js", "/*!", "alert(1);/*!"),
        ("page/style.css", "{", "{background:url(https://evil.example);"),
        ("page/icon.svg", "</svg>", "<script>alert(1)</script></svg>"),
        ("page/release.js", "sodPage", "alert(1);sodPage"),
        ("page/data-000.js", "sodPage", "alert(1);sodPage"),
        ("page/details-000.js", ");\n", ");\nalert(1);\n"),
        ("index.html", "</main>", "<script>alert(1)</script></main>"),
        ("croissant.json", '"contentUrl": "manifest.parquet"', '"contentUrl": "https://evil.example/x"'),
    ],
)
def test_an_injection_is_found_whatever_version_the_release_claims(copy, name, old, new):
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1))
    mend_sums(copy)
    assert name in {problem.where for problem in verify_release(str(copy)).problems}
    claim_another_version(copy)
    assert name in {problem.where for problem in verify_release(str(copy)).problems}


def test_what_other_problems_keep_from_being_compared_is_named(copy):
    (copy / "NOTICE").write_text("other words")
    mend_sums(copy)
    (copy / "stray").write_text("")
    check = verify_release(str(copy))
    assert {problem.where for problem in check.problems} == {"stray"}
    assert "NOTICE" in {unchecked.where for unchecked in check.unchecked}


def test_scores_that_can_not_be_measured_again_are_counted_and_named(copy):
    stated = json.loads((copy / "release.json").read_text())
    stated["made_from"]["fingerprint"]["alignment"] = "affine"
    (copy / "release.json").write_bytes(encode_json(stated))
    mend_texts(copy)
    check = verify_release(str(copy))
    assert check.problems == ()
    assert [unchecked.what for unchecked in check.unchecked] == [
        f"{name} was not measured again: the run was made with alignment affine"
        for name in ("ensemble_variance", "ensemble_variance_per_area", "stability")
    ]
