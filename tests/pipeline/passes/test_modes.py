"""The pass `modes`: values of its columns, a second mask at the image's size, and runs that it can't look at."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from model.config import ModelConfig
from model.maps import encode_png, quantise_saliency
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.files.maps import encode_masks
from pipeline.passes.agreement import iou
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import read_pass
from pipeline.passes.mask_text import mask_from_text
from pipeline.passes.modes import ModesPass, at_own_size
from pipeline.passes.score import score_run
from pipeline.passes.score_pass import Candidate, Item, PassContext
from pipeline.run import run
from pipeline.runs.commits import read_shard_records
from pipeline.selection.columns import Text, owned
from pipeline.selection.scores import Score
from tests.pipeline.make import make_collection, make_config, make_row, make_sample
from tests.pipeline.passes.test_clusters import LEFT, RIGHT, members

INLINE = ClusterConfig(engine="inline")
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def make_pass(**made_with):
    given = {"keep_members": "True", "ensemble_size": "10", **made_with}
    context = PassContext(name="modes", run="RUN", made_with={k: v for k, v in given.items() if v}, model=ModelConfig())
    return ModesPass(context)


def make_item(masks, height_width=(40, 60), **files):
    files = {"saliency.png": encode_png(np.zeros(height_width, np.uint8)), "members.png": encode_masks(masks), **files}
    row = make_row(members=len(masks))
    kept = {name: content for name, content in files.items() if content}
    return Item(sample=make_sample(), image=None, candidate=Candidate(row=row, files=kept))


def values_of(masks, **more):
    (found,) = make_pass().score_all([make_item(masks, **more)])
    return found


# Properties


@settings(max_examples=20)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.just(5), st.just(5))), SIZES)
def test_every_value_is_in_the_range_of_its_column(masks, height_width):
    columns = owned(make_pass().columns, "modes")
    found = values_of(masks, height_width=height_width)
    assert list(found) == [column.name for column in columns]
    assert [column.name for column in columns if isinstance(column, Text) and column.is_mask] == ["modes_second_mask"]
    for column in columns:
        if isinstance(column, Score) and found[column.name] is not None:
            assert column.lowest <= found[column.name] <= column.highest
    assert (found["modes_second_mask"] is None) == (found["modes"] == 1)


@settings(max_examples=10)
@given(st.integers(2, 6), st.integers(2, 6), SIZES)
def test_the_second_mask_has_the_images_size_and_is_that_of_the_smaller_group(more, fewer, height_width):
    more, fewer = max(more, fewer) + 1, min(more, fewer)
    found = values_of(members(more, fewer), height_width=height_width)
    assert found["modes"] == 2
    assert found["modes_share"] == more / (more + fewer)
    assert found["modes_second_share"] == fewer / (more + fewer)
    assert mask_from_text(found["modes_second_mask"], *height_width).shape == height_width


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))))
def test_a_mask_at_processing_size_is_where_at_least_half_of_the_members_are(masks):
    assert np.array_equal(at_own_size(masks, masks.shape[1:]), 2 * masks.sum(axis=0) >= len(masks))


# Examples


def test_two_things_have_two_modes_of_which_the_second_is_the_one_that_fewer_members_see():
    found = values_of(members(6, 4), height_width=(64, 96))
    assert (found["modes"], found["modes_share"], found["modes_second_share"]) == (2, 0.6, 0.4)
    assert found["modes_silhouette"] > 0.5
    assert found["modes_iou"] < 0.05
    expected = np.asarray(Image.fromarray(RIGHT).resize((96, 64)))
    assert iou(mask_from_text(found["modes_second_mask"], 64, 96), expected) > 0.85


def test_members_that_agree_have_one_mode_and_no_second_mask():
    found = values_of(members(10))
    assert (found["modes"], found["modes_share"], found["modes_second_share"], found["modes_iou"]) == (1, 1, 0, 1)
    assert found["modes_second_mask"] is None


def test_with_fewer_than_three_members_there_is_no_silhouette():
    assert values_of(np.stack([LEFT, RIGHT]))["modes_silhouette"] is None


def test_the_card_says_the_rule():
    (text,) = ModesPass.about(None, None).values()
    assert "silhouette (Rousseeuw 1987) is at least 0.5, each has at least 2 members" in text
    assert "above 0.7" in text


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory, fast_disk):
    folder = tmp_path_factory.mktemp("kept")
    config = make_config(make_collection(folder / "in", 5), folder / "run", keep_members=True, ensemble_size=6)
    run(config)
    return config.out


def test_a_whole_run_is_scored_without_its_images(kept_run):
    images = Path(kept_run).parent / "in/images"
    images.rename(images.with_name("gone"))
    found = score_run(PassConfig(run=kept_run, kind="modes", name="modes2", cluster=INLINE))
    assert (found.scored, found.failed, found.columns[0]) == (5, 0, "modes2")
    rows = read_pass(kept_run, "modes2", read_shard_records(kept_run, ["000000", "000001"])).rows
    # The stand-in's discs scatter for odd keys and lie on each other for even ones.
    assert all(row.values["modes2"] == 1 for key, row in rows.items() if int(key) % 2 == 0)


# Faults


def test_a_run_without_members_is_refused_before_any_work(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 1), tmp_path / "run")
    run(config)
    with pytest.raises(ConfigError, match=r"it was made without --keep-members\. Make a run with it in another folder"):
        score_run(PassConfig(run=config.out, kind="modes", cluster=INLINE))
    assert not (tmp_path / "run/passes").exists()


def test_more_members_than_can_be_compared_are_refused():
    with pytest.raises(ConfigError, match="has 129 members per image; this pass compares at most 128"):
        make_pass(ensemble_size="129")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has no members.png of this image; verify the run"),
        (b"torn", "not a whole PNG"),
        (encode_masks(np.ones((3, 4, 5), bool)), "15 px are not the width of 4 masks"),
        (encode_png(quantise_saliency(np.zeros((4, 8)))), "mode L"),
    ],
)
def test_an_image_whose_members_are_missing_or_damaged_fails_alone(content, what):
    whole, masks = make_item(members(2, 2)), members(2, 2)
    bad, good = make_pass().score_all([make_item(masks, **{"members.png": content}), whole])
    assert isinstance(bad, SampleError)
    assert bad.reason == "no_members"
    assert what in bad.detail
    assert good["modes"] == 2
