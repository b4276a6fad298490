"""A certificate that does not follow from its release and answers is found, and what is wrong with it is named."""

import hashlib
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audit.check import check_certificates, differences
from pipeline.audit.judged import answers_name
from pipeline.audit.plan import parse_plan
from pipeline.files import storage
from pipeline.release.annex import add_annex, annexes_of
from pipeline.release.check.verify import verify_release
from pipeline.release.newest_certificate import newest_certificate
from pipeline.release.page.data import call
from tests.pipeline.audit.certified import add_certificate, edit_annex

pytestmark = pytest.mark.usefixtures("fast_disk")
FIRST = answers_name("rater-1")


@pytest.fixture(scope="module")
def certified(audited_release, tmp_path_factory, fast_disk):
    """A release with a certificate; tests only read it."""
    folder = shutil.copytree(audited_release, tmp_path_factory.mktemp("certified") / "release")
    add_certificate(folder)
    return folder


@pytest.fixture
def copy(certified, tmp_path):
    return shutil.copytree(certified, tmp_path / "copy")


def found_in(release):
    return check_certificates(str(release), [1])


def said(release):
    return [(problem.where.removeprefix("annex/1/"), problem.what) for problem in found_in(release).problems]


def edit_lines(edit):
    """Edit the list of lines of the first rater."""

    def edited(files):
        files[FIRST] = b"".join(edit(files[FIRST].splitlines(keepends=True)))

    return edited


def edit_json(name, edit):
    """Edit a JSON file; its form stays the one in which such files are written."""

    def edited(files):
        value = json.loads(files[name])
        edit(value)
        indent = {"indent": 1} if name == "certificate.json" else {"separators": (",", ":")}
        files[name] = json.dumps(value, sort_keys=True, **indent).encode() + (b"\n" if "indent" in indent else b"")

    return edited


def test_a_certificate_that_follows_from_its_answers_has_no_problem(certified):
    found = found_in(certified)
    assert (found.problems, found.unchecked) == ([], [])
    (one,) = found.certificates
    assert one.is_sound
    assert one.sentence == json.loads((certified / "annex" / "1" / "certificate.json").read_bytes())["sentence"]
    assert "found only by a signature" in found.notes[0]


def test_readers_get_what_the_certificate_states(certified):
    sha256 = hashlib.sha256((certified / "release.json").read_bytes()).hexdigest()
    found = newest_certificate(str(certified), sha256)
    stated = json.loads((certified / "annex/1/certificate.json").read_bytes())
    assert (found.annex, found.sentence, found.population) == (1, stated["sentence"], 5)
    assert found.pixel_error == stated["mean_pixel_error"]["upper"] > 0


def test_a_release_with_a_certificate_is_sound_and_all_loaders_read_it(certified):
    check = verify_release(str(certified), loaders=True)
    assert (check.problems, check.unchecked) == ((), ())
    assert [(annex.number, annex.kind) for annex in check.annexes] == [(1, "certificate")]


def test_a_release_in_a_store_is_certified_and_checked_as_on_a_disk(audited_release, certified):
    url = "memory://certified/release"
    for path in (path for path in audited_release.rglob("*") if path.is_file()):
        storage.publish(f"{url}/{path.relative_to(audited_release)}", path.read_bytes())
    annex = add_certificate(url)
    assert annex == annexes_of(str(certified))[0]
    found = check_certificates(url, [1])
    assert (found.problems, [one.is_sound for one in found.certificates]) == ([], [True])


def test_annexes_of_other_kinds_and_numbers_are_left_alone(copy):
    add_annex(str(copy), "notes", {"certificate.json": b"{}"})
    assert [one.number for one in check_certificates(str(copy), [1, 2]).certificates] == [1]
    nothing = check_certificates(str(copy), [2])
    assert (nothing.certificates, nothing.problems, nothing.notes) == ([], [], [])


def test_a_certificate_is_checked_though_another_annex_is_malformed(copy):
    add_certificate(copy, ("wrong_object",) * 4)
    (copy / "annex" / "1" / "annex.json").write_bytes(b"{}")
    found = check_certificates(str(copy), [annex.number for annex in verify_release(str(copy)).annexes])
    assert [one.number for one in found.certificates] == [2]
    assert found.problems == []


def change_a_verdict(lines):
    """Change the first answer that has no mask; which one it is depends on the draw."""
    place = next(place for place, line in enumerate(lines) if b'"mask":null' in line)
    changed = json.loads(lines[place]) | {"verdict": "ambiguous"}
    return [*lines[:place], json.dumps(changed).encode() + b"\n", *lines[place + 1 :]]


def swap_in_an_image_that_was_not_drawn(plan):
    everything = {f"{2 * number:012d}" for number in range(1, 6)}
    (other,) = everything - {image["key"] for image in plan["sample"]}
    plan["sample"][0]["key"] = other


@pytest.mark.parametrize(
    ("edit", "where", "what"),
    [
        (edit_json("certificate.json", lambda found: found["release"].update(sha256="0" * 64, name="other")),
         "certificate.json", "is the certificate of another release: other 1.0.0, whose release.json has SHA-256 0000"),
        (edit_json("plan.json", lambda plan: plan.update(sha256="0" * 64)),
         "plan.json", "is the plan of another release"),
        (edit_json("plan.json", swap_in_an_image_that_was_not_drawn),
         "plan.json", "where the release's digest draws 0000"),
        (edit_json("plan.json", lambda plan: plan["sample"].reverse()),
         "plan.json", "has the drawn images in another order than the release's digest"),
        (edit_json("plan.json", lambda plan: plan["config"].update(confidence=0.9)),
         "certificate.json", "names another plan than the one beside it"),
        (edit_lines(lambda lines: [lines[0].replace(b"12.5", b"11.5"), *lines[1:]]), FIRST, "an answer was edited"),
        (edit_lines(change_a_verdict), FIRST, "an answer was edited"),
        (edit_lines(lambda lines: lines[1:]), FIRST, "answers were dropped: it has 2, the certificate was made from 3"),
        (edit_lines(lambda lines: [*lines, lines[0]]), FIRST, "answers were added: it has 4"),
        (edit_lines(lambda lines: lines[::-1]), FIRST, "answers were put into another order"),
        (lambda files: files.pop(FIRST), FIRST, "is missing: the certificate was made from its 3 answers"),
        (lambda files: files.update({answers_name("adjudicator"): b""}), "answers/adjudicator.jsonl",
         "is not a file that certificates have"),
        (lambda files: files.update({answers_name("rater-7"): b"x\n"}), "answers",
         "answers/rater-7.jsonl is no file of a rater of this audit"),
        (edit_lines(lambda lines: [b"{}\n", *lines[1:]]), "answers", "line 1"),
        (edit_json("certificate.json", lambda found: found["shares"][0].update(good=4)),
         "certificate.json", "does not follow from the answers: shares[0].good is 4, the answers give"),
        (edit_json("certificate.json", lambda found: found.update(sentence="All masks are perfect.")),
         "certificate.json", "sentence is 'All masks are perfect.'"),
        (edit_json("certificate.json", lambda found: found["mean_pixel_error"].update(upper=0.0)),
         "certificate.json", "mean_pixel_error.upper is 0.0, the answers give"),
        (edit_json("certificate.json", lambda found: found.update(more=1)), "certificate.json", "it has more"),
        (edit_json("certificate.json", lambda found: found.pop("work")), "certificate.json", "it lacks work"),
        (lambda files: files.update({"certificate.json": b"[" * 10**5}), "certificate.json", "can't be checked"),
        (lambda files: files.pop("plan.json"), "plan.json", "the annex has no plan.json"),
        (lambda files: files.update({"stray.txt": b""}), "stray.txt", "is not a file that certificates have"),
        (lambda files: files.pop("certificate.md"), "certificate.md", "annex.json does not name it"),
        (lambda files: files.pop("page/photos/00000.webp"), "page/photos/00000.webp", "annex.json does not name it"),
        (lambda files: files.update({"page/photos/00000.webp": files["page/photos/00000.webp"] + b"EXIF"}),
         "page/photos/00000.webp", "can't be read as a picture alone"),
        (lambda files: files.update({"page/photos/00000.webp": b"RIFF"}), "page/photos/00000.webp", "can't be read"),
    ],
    ids=range(26),
)  # fmt: skip
def test_what_is_wrong_with_a_certificate_is_named(copy, edit, where, what):
    edit_annex(copy, edit)
    found = dict(said(copy))
    assert what in found[where]
    assert not found_in(copy).certificates[0].is_sound


TEXTS = ("certificate.md", "README.md", "croissant.json", "certificate.js", "index.html", "page/audit-000.js",
         "page/audited.js", "page/outlines.js", "page/style.css")  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(TEXTS), data=st.data())
def test_a_changed_byte_of_a_text_is_found_even_if_all_sums_are_mended(copy, name, data):
    original = (copy / "annex" / "1" / name).read_bytes()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] ^= data.draw(st.integers(1, 127))
    edit_annex(copy, lambda files: files.update({name: bytes(changed)}))
    assert [where for where, _ in said(copy)] == [name]
    edit_annex(copy, lambda files: files.update({name: original}))
    assert said(copy) == []


# Certificates that another version of the tool made


def test_other_words_of_another_version_are_named_and_not_compared(copy):
    edit_annex(copy, lambda files: files.update({"certificate.md": b"Other words."}), texts="0" * 64)
    found = found_in(copy)
    assert found.problems == []
    assert [(one.where, one.what.partition(":")[0]) for one in found.unchecked] == [
        ("annex/1/certificate.md", "what it says was not compared")
    ]


def test_other_numbers_of_another_version_are_named_and_not_compared(copy):
    edit_annex(copy, edit_json("certificate.json", lambda found: found["work"].update(hours=7)), texts="0" * 64)
    found = found_in(copy)
    assert found.problems == []
    assert "this one computes other numbers: work.hours is 7" in found.unchecked[0].what


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("certificate.js", b"alert(1)", "is more than a call with the page's data"),
        ("page/audit-000.js", call("audited", {}) + b"alert(1)", "is more than a call with the page's data"),
        ("index.html", b"<script>alert(1)</script>", "is not what any known version"),
        ("page/audited.js", b"alert(1)", "is not what any known version"),
        ("page/evil.js", b"alert(1)", "is not what any known version"),
        ("evil.html", b"<script>alert(1)</script>", "is not a file that certificates have"),
        ("croissant.json", b'{"@context": "https://evil.example"}', "its @context is not that of Croissant"),
    ],
)
def test_what_could_do_harm_is_found_whoever_made_it(copy, name, content, what):
    edit_annex(copy, lambda files: files.update({name: content}), texts="0" * 64)
    assert what in dict(said(copy))[name]


def test_a_certificate_of_a_release_that_can_not_be_read_is_not_checked(copy):
    (copy / "manifest.parquet").write_bytes(b"")
    found = found_in(copy)
    assert (found.problems, found.certificates) == ([], [])
    assert found.unchecked[0].where == "annex/1"


# Differences

VALUES = st.recursive(
    st.integers(0, 2) | st.booleans() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@given(VALUES, VALUES)
def test_equal_values_alone_have_no_differences(one, other):
    assert list(differences(one, one)) == []
    assert bool(list(differences(one, other))) == (json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))


def test_the_plan_of_the_certificate_is_read_back(certified):
    plan = parse_plan((certified / "annex" / "1" / "plan.json").read_bytes())
    assert len(plan.sample) == 4
