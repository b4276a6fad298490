"""Plans: made from the release alone, read only as they were written, and held against the release."""

import json
import re
from dataclasses import replace

import pytest

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import RELEASE_PLACE, open_audit
from pipeline.audit.plan import PLAN, differences_from_release, make_plan, parse_plan, read_plan
from pipeline.audit.released import read_audited
from pipeline.errors import CollectionError, ConfigError
from pipeline.files.tars import encode_json


@pytest.fixture(scope="module")
def audited(audited_release):
    return read_audited(str(audited_release))


def many(audited, count):
    """The release as if it had that many images."""
    row = next(iter(audited.rows.values()))
    keys = [f"{number:012d}" for number in range(count)]
    return replace(audited, rows={key: row | {"key": key, "split": f"{int(key) % 3}"} for key in keys})


def edited(plan, change):
    """The bytes of a plan after somebody has changed it and written it as plans are."""
    stored = json.loads(plan.encode())
    change(stored)
    return encode_json(stored)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"images": 1, "raters": 1},
        {"images": 50, "raters": 5, "overlap": 1.0, "strata": "split", "beacon": "é 1 May", "ious": (0.5,)},
        {"predict_with": "", "advise": "ensemble_variance"},
    ],
)
def test_a_plan_comes_back_as_it_was(audited, options):
    plan = make_plan(many(audited, 60), AuditConfig(**options))
    assert parse_plan(plan.encode()) == plan
    assert parse_plan(plan.encode()).digest == plan.digest
    assert differences_from_release(plan, many(audited, 60)) == []


def test_a_plan_says_of_what_it_draws(audited):
    plan = make_plan(many(audited, 60), AuditConfig(images=10, strata="split"))
    assert (plan.population, plan.strata) == (60, {"0": 20, "1": 20, "2": 20})
    assert sorted(image.stratum for image in plan.sample) == ["0"] * 4 + ["1"] * 3 + ["2"] * 3
    assert plan.sha256 == audited.sha256


def test_each_rater_gets_her_images_in_an_order_of_her_own(audited):
    plan = make_plan(many(audited, 60), AuditConfig(images=40, overlap=1))
    one, other = (plan.tasks_of(rater) for rater in plan.raters)
    assert set(one) == set(other) == {image.key for image in plan.sample}
    assert one != other != [image.key for image in plan.sample]


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.update(format=2),
        lambda stored: stored.update(format=True),
        lambda stored: stored.update(more=1),
        lambda stored: stored.pop("population"),
        lambda stored: stored["config"].pop("beacon"),
        lambda stored: stored["config"].update(more=1),
        lambda stored: stored["config"].update(raters=0),
        lambda stored: stored["config"].update(images="400"),
        lambda stored: stored["config"].update(strata={}),
        lambda stored: stored["config"].update(ious=[[]]),
        lambda stored: stored["config"].update(ious={}),
        lambda stored: stored["sample"][0].update(more=1),
        lambda stored: stored["sample"][0].pop("key"),
        lambda stored: stored.update(sample=7),
        lambda stored: stored.update(config=[]),
    ],
)
def test_what_is_no_plan_is_refused(audited, tmp_path, change):
    content = edited(make_plan(audited, AuditConfig()), change)
    (tmp_path / PLAN).write_bytes(content)
    with pytest.raises(CollectionError, match=r"plan.json is malformed"):
        read_plan(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / PLAN).write_bytes(content)
    with pytest.raises(CollectionError, match=r"plan.json is malformed"):
        read_plan(tmp_path)


def test_a_plan_with_other_spaces_has_another_digest_and_is_refused(audited):
    content = json.dumps(json.loads(make_plan(audited, AuditConfig()).encode()), indent=1).encode()
    with pytest.raises(ValueError, match="not written as plans are"):
        parse_plan(content)


def test_a_folder_without_a_plan_is_no_audit(tmp_path):
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CollectionError, match=r"is not the folder of an audit: it has no plan.json"):
            read_plan(place)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda stored: stored["sample"].reverse(), "where the release's digest draws"),
        (lambda stored: stored["sample"].pop(), "differs from the plan"),
        (lambda stored: stored["sample"][0].update(key="000000000003"), "has 000000000003 where"),
        (lambda stored: stored["sample"][0].update(raters=["rater-1", "rater-2"]), "has .* where"),
        (lambda stored: stored.update(population=10**6), "differs from the plan"),
        (lambda stored: stored["config"].update(beacon="another"), "where the release's digest draws"),
        (lambda stored: stored.update(sha256="ab" * 32), "plan of another release"),
    ],
)
def test_a_plan_that_does_not_follow_from_the_release_says_where(audited, audited_release, tmp_path, change, found):
    plan = make_plan(many(audited, 60), AuditConfig(images=10, overlap=0))
    differing = differences_from_release(parse_plan(edited(plan, change)), many(audited, 60))
    assert [text for text in differing if re.search(found, text)] == differing != []
    (tmp_path / PLAN).write_bytes(edited(make_plan(audited, AuditConfig(overlap=0)), change))
    (tmp_path / RELEASE_PLACE).write_text(str(audited_release))
    with pytest.raises(CollectionError, match=r"plan.json (has|differs|is the plan of another)"):
        open_audit(tmp_path)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"strata": "mood"}, "has no score mood"),
        ({"advise": "mood"}, "has no score mood"),
        ({"predict_with": "mood"}, "has no score mood"),
        ({"predict_with": "ensemble_variance_per_area"}, "between 0 and 1"),
    ],
)
def test_a_score_that_is_not_there_or_does_not_fit_is_refused(audited, options, found):
    with pytest.raises(ConfigError, match=found):
        make_plan(audited, AuditConfig(**options))


def test_a_release_without_an_accepted_image_can_not_be_audited(audited):
    with pytest.raises(ConfigError, match="nothing to audit"):
        make_plan(replace(audited, rows={}), AuditConfig())


def test_an_audit_is_opened_with_its_release_where_it_lies_now(audited, audited_release, tmp_path):
    plan = make_plan(audited, AuditConfig(images=3))
    (tmp_path / PLAN).write_bytes(plan.encode())
    with pytest.raises(CollectionError, match="give --release"):
        open_audit(tmp_path)
    (tmp_path / RELEASE_PLACE).write_bytes(b" \n")
    with pytest.raises(CollectionError, match="give --release"):
        open_audit(tmp_path)
    (tmp_path / RELEASE_PLACE).write_bytes(b"/\xff\n")
    with pytest.raises(CollectionError, match="does not exist"):
        open_audit(tmp_path)
    (tmp_path / RELEASE_PLACE).write_text("/moved/away\n")
    with pytest.raises(CollectionError, match="/moved/away"):
        open_audit(tmp_path)
    opened = open_audit(tmp_path, str(audited_release))
    (tmp_path / RELEASE_PLACE).write_text(f"{audited_release}\n")
    assert open_audit(tmp_path).plan == opened.plan == plan
    assert opened.asked.plan == plan.digest
    assert opened.asked.tasks["adjudicator"] == {image.key for image in plan.sample} == opened.masks().keys()
    assert {rater: set(opened.asked.tasks[rater]) for rater in plan.raters} == {
        rater: set(plan.tasks_of(rater)) for rater in plan.raters
    }
    for key, size in opened.asked.sizes.items():
        assert size == (audited.rows[key]["height"], audited.rows[key]["width"])
