"""What a release was made from, compared with what is asked for."""

import json

import pytest

from pipeline.config import ReleaseConfig
from pipeline.errors import ReleaseExistsError
from pipeline.release.identity import check_identity, publication_of

BEFORE_6 = ("creator", "published_on", "homepage")


@pytest.fixture
def check(tmp_path):
    """Compares what is asked for with a release that stated some options."""

    def check(stated, asked_for):
        made_from = {"policy": {}, "publication": stated}
        (tmp_path / "release.json").write_text(json.dumps({"made_from": made_from}))
        check_identity(str(tmp_path), {"policy": {}, "publication": publication_of(asked_for)})

    return check


@pytest.mark.parametrize("asked_for", ["CC-BY-4.0", "none"])
def test_a_release_before_masks_had_a_licence_is_what_a_plain_rerun_or_none_asks_for(check, asked_for):
    check(dict.fromkeys(BEFORE_6, ""), ReleaseConfig(mask_license=asked_for))


def test_a_release_before_masks_had_a_licence_does_not_get_another_one(check):
    with pytest.raises(ReleaseExistsError, match="mask_license") as refused:
        check(dict.fromkeys(BEFORE_6, ""), ReleaseConfig(mask_license="CC0-1.0"))
    assert "none" in str(refused.value)
    assert "CC-BY-4.0" not in str(refused.value)


@pytest.mark.parametrize(("stated", "asked_for"), [("none", "CC-BY-4.0"), ("CC-BY-4.0", "none"), ("none", "CC0-1.0")])
def test_a_release_that_states_its_licence_is_held_to_it(check, stated, asked_for):
    with pytest.raises(ReleaseExistsError, match="mask_license"):
        check(publication_of(ReleaseConfig(mask_license=stated)), ReleaseConfig(mask_license=asked_for))
