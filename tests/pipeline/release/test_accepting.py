"""What a build would accept, before it writes; and releases of nothing, which are refused where nothing is lost."""

import re
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ReleaseNotMadeError
from pipeline.files import storage
from pipeline.release import assemble as assembling
from pipeline.release.accepting import forecast_release
from pipeline.release.build import build_release, complete_run, source_of
from pipeline.release.check.rows import misjudged
from pipeline.release.check.verify import verify_release
from pipeline.replicas import work
from pipeline.run import run
from tests.pipeline.make import (
    make_collection,
    make_config,
    make_instances,
    read_samples,
    tree,
    write_annotations,
)

ALL_PASS = {"max_variance": 0.25, "max_variance_per_area": 250.0, "min_area": 0.0}


def name_of(options):
    """A name that a release of these options alone has."""
    return re.sub(r"\W+", "-", str(options)).strip("-") or "defaults"


def strict(inputs, out, **options):
    """A configuration that takes no empty release, unless it is told to."""
    return make_config(inputs, out, **{"allow_empty": False, **options})


def prepared(config):
    """What a build of a complete run begins with."""
    specs, made_with = complete_run(
        config.out, collection := read_samples(config.input.annotations, config.input.images)
    )
    return source_of(config, collection, specs), config, made_with


@pytest.fixture(scope="module")
def compared(tmp_path_factory, release_of):
    """A run of ten images with instances, except for every fifth."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    write_annotations(inputs, **make_instances(inputs.entries))
    return release_of(inputs, tmp_path_factory.mktemp("compared"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        ALL_PASS,
        {"target_images": 2},
        {"allowed_licenses": (1,)},
        {"thresholds": ("instance_iou>=0.05",), **ALL_PASS},
        {"target_images": 3, "rank_by": "instance_iou"},
        {"target_images": 4, "strata": "even", **ALL_PASS},
        {"thresholds": ("border<=0.5",), "embed_images": False},
    ],
)
def test_a_forecast_says_what_the_release_holds_then(compared, options):
    config = strict(compared.inputs, compared.config.out, version="2.0.0", name=name_of(options), **options)
    source, config, made_with = prepared(config)
    before = tree(config.out)
    found = forecast_release(source, config)
    assert tree(config.out) == before
    built = build_release(source, config, made_with)
    for name in ("images", "accepted", "rejected", "failed", "release"):
        assert getattr(found, name) == getattr(built, name)
    tars = sum(path.stat().st_size for path in Path(built.release).rglob("*.tar"))
    assert 0.2 * tars < found.tar_bytes < 2 * tars


def test_a_build_of_nothing_is_refused_before_a_byte_is_written(released):
    config = strict(released.inputs, released.config.out, version="3.1.4", max_variance=0.0)
    source, config, made_with = prepared(config)
    before = tree(config.out)
    with pytest.raises(ConfigError) as refused:
        build_release(source, config, made_with)
    said = str(refused.value)
    assert "of 10 images, 1 failed (undecodable), 9 rejected (variance_above_max)" in said
    assert said.endswith("Relax the policy, or give --allow-empty")
    with pytest.raises(ConfigError, match="the release would be empty"):
        forecast_release(source, config)
    assert tree(config.out) == before


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_what_only_masks_tell_to_be_empty_leaves_nothing(released, tmp_path, place, monkeypatch):
    """No image has an instance_iou here, but that is known only after the masks were looked at."""
    out = str(tmp_path / "run") if place == "disk" else f"memory://{tmp_path.name}"
    run(strict(released.inputs, out))
    config = strict(released.inputs, out, version="3.1.0", thresholds=("instance_iou>=0.1",))
    source, config, made_with = prepared(config)
    surveyed = []
    monkeypatch.setattr(assembling, "survey", lambda task, real=assembling.survey: surveyed.append(task) or real(task))
    with pytest.raises(ConfigError, match="instance_iou_unknown"):
        build_release(source, config, made_with)
    assert len(surveyed) == 1
    folder = storage.join(out, "release", "sod-benchmark-3.1.0")
    assert [*storage.list_names(folder), *storage.list_names(storage.join(folder, "page"))] in ([], ["page"])


def test_a_run_whose_release_would_be_empty_keeps_its_images_and_says_how_to_use_them(tmp_path):
    inputs = make_collection(tmp_path / "in", 5)
    config = strict(inputs, tmp_path / "run", max_variance=0.0)
    with pytest.raises(ReleaseNotMadeError) as refused:
        run(config)
    assert re.search(
        r"All 5 images are computed and stay in .*/run; nothing has to be computed again", str(refused.value)
    )
    assert f"sod release build {config.out}" in str(refused.value)
    with pytest.raises(ConfigError, match="the release would be empty"):  # nothing was begun this time
        run(config)
    report = run(strict(inputs, tmp_path / "run"))
    assert (report.computed, report.accepted) == (0, 2)
    assert run(strict(inputs, tmp_path / "run", max_variance=0.0, allow_empty=True, version="2.0.0")).accepted == 0


@pytest.fixture(scope="module")
def early(tmp_path_factory, release_of):
    """A release of a run by a version that measured two scores less; one image failed."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 6)
    inputs.file(3).write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patch:
        measure = work.score
        fewer = ("stability", "max_saliency")
        patch.setattr(work, "score", lambda found: {k: v for k, v in measure(found).items() if k not in fewer})
        return release_of(inputs, tmp_path_factory.mktemp("early"))


def test_a_run_that_measured_fewer_scores_makes_a_release_that_stands_the_check(early):
    assert [row["stability"] for row in early.manifest()] == [None] * 6
    found = verify_release(str(early.folder), str(early.inputs.annotations), run=early.config.out, loaders=False)
    assert found.problems == ()
    card = (early.folder / "README.md").read_text()
    assert card.count("null, as the run was made by an earlier version, which did not measure it.") == 2


@pytest.mark.parametrize("verdict", ["accepted", "rejected", "failed"])
def test_a_score_that_one_image_alone_has_is_found_whichever_image_it_is(early, verdict):
    rows = {row["key"]: row for row in early.manifest()}
    assert list(misjudged(rows, early.config.policy)) == []
    key = next(key for key, row in rows.items() if row["verdict"] == verdict)
    rows[key] |= {"stability": 0.5}
    assert [found for found in misjudged(rows, early.config.policy) if "contradicts its scores" in found]


@pytest.mark.parametrize("options", [{"thresholds": ("stability>=0.1",)}, {"target_images": 1, "rank_by": "stability"}])
def test_a_policy_on_a_score_that_the_run_did_not_measure_is_refused(early, options):
    config = strict(early.inputs, early.config.out, name=name_of(options), **options)
    with pytest.raises(ConfigError, match=r"the policy names stability, which .* does not have: an earlier version"):
        build_release(*prepared(config))
    config = strict(early.inputs, early.config.out, name=name_of(options), allow_empty=True, **options)
    source, config, made_with = prepared(config)
    built = build_release(source, config, made_with)
    assert verify_release(built.release).problems == ()
    assert forecast_release(source, strict(early.inputs, early.config.out, version="2.0.1")).accepted == 3
