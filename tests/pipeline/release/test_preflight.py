"""A policy that can accept no image is refused with what excludes each licence."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.collection.collection import Collection, License
from pipeline.collection.config import InputConfig
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.release.preflight import refuse_unbuildable
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import is_allowed
from tests.pipeline.make import make_sample

URLS = {
    1: "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    4: "https://creativecommons.org/licenses/by/2.0/",
    6: "https://creativecommons.org/licenses/by-nd/2.0/",
    1001: "https://creativecommons.org/publicdomain/zero/1.0/",
    1002: "",
}
NOT_COMMERCIAL = "not known to allow commercial use and changes"


def refusal(numbers, **policy):
    collection = Collection(
        samples=tuple(make_sample(license_id=number) for number in numbers),
        licenses={number: License(id=number, name="", url=URLS[number]) for number in numbers if number},
        origins={},
        has_annotations=False,
        has_instances=False,
    )
    config = RunConfig(input=InputConfig(images="photos"), out="out", policy=PolicyConfig(**policy))
    with pytest.raises(ConfigError) as caught:
        refuse_unbuildable(config, collection)
    return str(caught.value)


def of_each(message):
    """Id → what a message says of the licence."""
    parts = message.partition("the images have the licences ")[2].partition("; ")[0].split("), ")
    return {int(part.split(" ")[0]): part for part in parts}


@given(st.sets(st.sampled_from(sorted(URLS)), min_size=1), st.sets(st.sampled_from([4, 7, 1001, 1002])))
def test_each_licence_is_said_to_be_excluded_by_what_excludes_it(numbers, allowed):
    policy = PolicyConfig(commercial=True, allowed_licenses=tuple(sorted(allowed)))
    assume(not any(is_allowed(number, URLS[number], policy) for number in numbers))
    said = of_each(refusal(sorted(numbers), commercial=True, allowed_licenses=policy.allowed_licenses))
    for number in numbers:
        is_commercial = is_allowed(number, URLS[number], PolicyConfig(commercial=True))
        assert (NOT_COMMERCIAL in said[number]) is not is_commercial
        assert ("not in allowed_licenses" in said[number]) is bool(allowed and number not in allowed)


def test_a_licence_that_both_exclude_is_said_to_be_excluded_by_both():
    assert refusal([1, 4, 0], commercial=True, allowed_licenses=(7,)) == (
        "allowed_licenses 7 and commercial allows no image: the images have the licences 0 (no address: not in "
        "allowed_licenses, not known to allow commercial use and changes), 1 "
        "(https://creativecommons.org/licenses/by-nc-sa/4.0/: not in allowed_licenses, not known to allow commercial "
        "use and changes), 4 (https://creativecommons.org/licenses/by/2.0/: not in allowed_licenses); 0: none is "
        "known, --metadata TABLE tells them"
    )


def test_ids_alone_are_enough_where_they_alone_decide():
    assert refusal([1, 4], allowed_licenses=(7,)) == (
        "allowed_licenses 7 allows no image: the images have the licences 1, 4"
    )
