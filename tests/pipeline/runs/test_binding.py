"""A shard's binding tells apart any two shards in which an image has other maps, scores or bytes."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.runs.binding import Bound, binding, maps_sha256
from pipeline.runs.candidates import binding_of
from tests.pipeline.make import make_key, make_row

DIGESTS = st.sampled_from(["aa" * 32, "bb" * 32, "cc" * 32])
SCORES = st.dictionaries(st.sampled_from(["area", "border"]), st.sampled_from([0.0, 0.25, 1.0]))
IMAGES = st.builds(
    Bound,
    key=st.integers(1, 3).map(make_key),
    image_sha256=DIGESTS,
    maps_sha256=DIGESTS,
    members=st.integers(1, 3),
    scores=SCORES,
)


@given(st.lists(IMAGES, max_size=3), st.lists(IMAGES, max_size=3))
def test_shards_have_one_binding_exactly_if_they_have_the_same_images(some, others):
    assert (binding(some) == binding(others)) == (some == others)


@given(IMAGES, IMAGES)
def test_maps_exchanged_between_two_images_change_the_binding(one, other):
    assume(one.maps_sha256 != other.maps_sha256)
    exchanged = [replace(one, maps_sha256=other.maps_sha256), replace(other, maps_sha256=one.maps_sha256)]
    assert binding([one, other]) != binding(exchanged)


@given(st.binary(max_size=3), st.binary(max_size=3), st.binary(max_size=3), st.binary(max_size=3))
def test_maps_have_one_digest_exactly_if_both_are_the_same(saliency, variance, other_saliency, other_variance):
    maps = {"saliency.png": saliency, "variance.png": variance}
    others = {"saliency.png": other_saliency, "variance.png": other_variance, "json": b"ignored"}
    is_same = (saliency, variance) == (other_saliency, other_variance)
    assert (maps_sha256(maps) == maps_sha256(others)) == is_same


def test_failed_images_are_not_bound():
    maps = {make_key(7): {"saliency.png": b"s", "variance.png": b"v"}}
    assert binding_of([make_row()], maps) == binding_of([make_row(), make_row(key=make_key(8), reason="missing")], maps)
