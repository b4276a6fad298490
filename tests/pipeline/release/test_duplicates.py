"""A release with the pass duplicates: policies drop later copies, the report is in it, and the check finds lies."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.passes.duplicates.contamination import picture_px
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from tests.pipeline.make import make_key
from tests.pipeline.passes.photos import embed, encoded, find_duplicates, make_photo, make_photos, run_of
from tests.pipeline.release.editing import edit_manifest, mend_sums


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Six pictures, of which 4 is the second mirrored and 6 is in a test set; the even ones are accepted."""
    folder = tmp_path_factory.mktemp("compared")
    photos = [make_photo(number) for number in range(1, 7)]
    photos[3] = photos[1][:, ::-1]
    config = run_of(make_photos(folder / "in", photos), folder / "out")
    (folder / "set").mkdir()
    (folder / "set/=1+1.png").write_bytes(encoded(photos[5]))
    (folder / "set/other.png").write_bytes(encoded(make_photo(80)))
    embed(folder / "out")
    find_duplicates(folder / "out", f"TEST={folder / 'set'}")
    return config


def released(config, version, policy=None, **options):
    release = replace(config.release, version=version, **options)
    return Path(run(replace(config, release=release, policy=policy or config.policy)).release)


@pytest.fixture(scope="module")
def release(compared):
    policy = replace(compared.policy, thresholds=("duplicate_similarity <= 0.95",))
    return released(compared, "1.1.0", policy)


def problems(folder):
    return [f"{problem.where} {problem.what}" for problem in verify_release(str(folder)).problems]


def shown(folder):
    """Whether each panel of two pairs has a photo: photos have many colours, words few."""
    with Image.open(folder / "duplicates.png") as opened:
        picture = np.asarray(opened.convert("RGB"))
    panels = [picture[10:160, left : left + 200] for left in (10, 212, 432, 634)]
    return [len(np.unique(panel.reshape(-1, 3), axis=0)) > 500 for panel in panels]


def test_a_policy_drops_the_later_copy_and_keeps_the_first(release):
    rows = {row["key"]: row for row in pq.read_table(release / "manifest.parquet").to_pylist()}
    assert [key for key, row in rows.items() if row["verdict"] == "accepted"] == [make_key(2), make_key(6)]
    assert rows[make_key(4)]["reason"] == "duplicate_similarity_above_max"
    assert rows[make_key(4)]["duplicate_of"] == make_key(2)
    assert "embedding" not in rows[make_key(4)]


def test_the_table_is_in_the_release_and_card_and_check_know_it(release):
    lines = (release / "duplicates.csv").read_text().splitlines()
    assert lines[1:] == [
        f"key-{make_key(4)},key-{make_key(2)},1.000000,,0.000000",
        f"key-{make_key(6)},,0.000000,TEST/=1+1.png,1.000000",
    ]
    card = (release / "README.md").read_text()
    assert "duplicates.csv" in card
    assert "Near-duplicates" in card
    assert problems(release) == []


def test_the_picture_shows_photos_of_the_collection_and_none_of_the_test_set(release):
    with Image.open(release / "duplicates.png") as picture:
        assert picture.size == picture_px(2)
    assert shown(release) == [True, True, True, False]


def test_releases_without_photos_or_without_the_pass_show_none(compared, release):
    bare = released(compared, "1.2.0", replace(compared.policy, thresholds=("duplicate_similarity <= 0.95",)),
                    embed_images=False)  # fmt: skip
    assert shown(bare) == [False] * 4
    assert problems(bare) == []
    without = released(compared, "1.0.0")
    assert not (without / "duplicates.csv").exists()
    assert "duplicates.csv" not in (without / "README.md").read_text()


def test_the_check_finds_another_table_and_another_picture(release, tmp_path):
    shutil.copytree(release, tmp_path / "r")
    path = tmp_path / "r/duplicates.csv"
    path.write_text(path.read_text().replace("1.000000", "0.000000", 1))
    mend_sums(tmp_path / "r")
    assert any(problem.startswith("duplicates.csv") for problem in problems(tmp_path / "r"))
    shutil.copytree(release, tmp_path / "s")
    buffer = io.BytesIO()
    Image.new("RGB", (30, 40)).save(buffer, "PNG")
    (tmp_path / "s/duplicates.png").write_bytes(buffer.getvalue())
    mend_sums(tmp_path / "s")
    assert any("duplicates.png is 30 x 40 px" in problem for problem in problems(tmp_path / "s"))


def test_a_manifest_whose_pairs_lack_their_similarity_is_a_problem_and_no_crash(release, tmp_path):
    shutil.copytree(release, tmp_path / "r")

    def edit(rows):
        rows[3]["duplicate_similarity"] = None

    edit_manifest(tmp_path / "r", edit)
    assert problems(tmp_path / "r")
