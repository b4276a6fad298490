"""Pictures of the newest masks: from the beginning of a tar, however it is cut."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.tars import SampleTar
from pipeline.watching.pictures import whole_samples

SAMPLES = {f"{number:03d}": {"json": b"{}" * number, "saliency.png": bytes(700 * number)} for number in range(1, 5)}


def tar():
    file = io.BytesIO()
    written = SampleTar(file)
    for key, members in SAMPLES.items():
        written.add(key, members)
    written.close()
    return file.getvalue()


CONTENT = tar()


@given(st.integers(0, len(CONTENT)))
def test_the_beginning_of_a_tar_gives_the_members_that_are_whole_in_it(cut):
    found = whole_samples(CONTENT[:cut])
    for sample, whole in zip(found, SAMPLES.values(), strict=False):
        assert sample == {extension: whole[extension] for extension in sample}
    assert len(found) <= len(SAMPLES)


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(5000), b"x" * 1024])
def test_what_is_no_tar_has_no_samples(content):
    assert whole_samples(content) == []


def test_a_whole_tar_has_all_samples():
    assert whole_samples(CONTENT) == list(SAMPLES.values())
