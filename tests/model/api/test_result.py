"""What is known of a photo's salient object: maps, numbers, pictures and files."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from model.api import saving
from model.api.drawing import OUTLINE_RGB, outline_of
from model.api.result import SaliencyResult
from model.maps import quantise_saliency
from model.prediction import Prediction
from pipeline.files.maps import mask_of, variance_of
from pipeline.selection.scores import score

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def make_result(height=20, width=30, members=4, name="photo"):
    """Members that agree on the left half and differ on the right."""
    columns = np.linspace(0, 1, width, dtype=np.float32)
    maps = np.stack(
        [np.tile(np.where(columns < 0.5, 0.8, columns * number / members), (height, 1)) for number in range(members)]
    )
    maps = maps.astype(np.float32)
    prediction = Prediction(saliency=maps.mean(0), variance=maps.var(0), uncertainty=maps.std(0), members=maps)
    return SaliencyResult(name=name, image=np.full((height, width, 3), 90, np.uint8), prediction=prediction)


@given(arrays.arrays(np.float32, SIZES, elements=st.floats(0, 1, width=32)))
def test_the_mask_is_the_one_that_a_release_has_of_the_same_map(saliency):
    prediction = Prediction(saliency=saliency, variance=saliency * 0, uncertainty=saliency * 0, members=saliency[None])
    result = SaliencyResult(name="x", image=np.zeros((*saliency.shape, 3), np.uint8), prediction=prediction)
    assert np.array_equal(result.mask, mask_of(quantise_saliency(saliency)))


def test_maps_have_the_photos_size_and_their_ranges():
    result = make_result()
    for values, most in ((result.saliency, 1), (result.variance, 0.25), (result.uncertainty, 0.5)):
        assert (values.shape, values.dtype) == ((20, 30), np.float32)
        assert 0 <= values.min() <= values.max() <= most
    assert result.mask.dtype == bool


def test_the_variance_of_the_photo_is_the_score_of_a_run():
    result = make_result()
    assert result.ensemble_variance == score(result.prediction)["ensemble_variance"] > 0


def test_it_says_what_it_is():
    assert repr(make_result()) == "SaliencyResult('photo', 30 x 20 px, mask 50.0%, variance 0.0233 over 4 members)"
    assert repr(make_result(members=1)) == "SaliencyResult('photo', 30 x 20 px, mask 50.0%, one member)"


@given(arrays.arrays(bool, SIZES))
def test_an_outline_is_in_the_mask_and_leaves_the_inside(mask):
    outline = outline_of(mask)
    assert not (outline & ~mask).any()
    assert outline_of(np.ones((9, 9), bool)).sum() == 0


def test_the_plot_has_four_pictures_in_a_row_with_the_outline_in_the_second():
    plot = make_result(40, 60).plot()
    assert plot.size == (4 * 60 + 3 * 6, 40 + 24)
    panels = [np.asarray(plot)[24:, left : left + 60] for left in range(0, 4 * 66, 66)]
    assert (panels[0] == 90).all()
    is_outline = (panels[1] == OUTLINE_RGB).all(-1)
    assert is_outline[:, 29].all()
    assert not is_outline[:, :28].any()
    assert panels[2][0, 0, 0] == 204
    assert not panels[3][:, :29].any()


def test_a_large_photo_is_drawn_small_and_a_thin_one_too():
    assert make_result(900, 1200).plot().size == (4 * 480 + 18, 360 + 24)
    assert make_result(1, 2000).plot().height == 1 + 24


def test_a_notebook_shows_the_plot():
    result = make_result()
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(result.plot()))


# Files


def read(path):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def test_a_png_gets_the_mask(tmp_path):
    result = make_result()
    assert result.save(tmp_path / "new/mask.PNG") == [tmp_path / "new/mask.PNG"]
    assert np.array_equal(read(tmp_path / "new/mask.PNG"), result.mask * 255)


@pytest.mark.parametrize("overwrite", [False, True])
def test_every_name_that_a_disk_takes_can_be_saved(tmp_path, overwrite):
    mask = tmp_path / ("日" * 83 + "ab.png")
    assert make_result().save(mask, overwrite=overwrite) == [mask]
    assert list(tmp_path.iterdir()) == [mask]


def test_a_folder_gets_mask_and_maps_as_a_release_has_them(tmp_path):
    result, folder = make_result(), tmp_path / "maps.v2"
    folder.mkdir()
    paths = result.save(folder)
    assert [path.name for path in paths] == ["photo.mask.png", "photo.saliency.png", "photo.variance.png"]
    mask, saliency, variance = map(read, paths)
    assert np.array_equal(mask, result.mask * 255)
    assert np.array_equal(saliency, quantise_saliency(result.saliency))
    assert np.abs(np.sqrt(variance_of(variance)) - np.sqrt(result.variance)).max() <= 1 / 1020 + 1e-7


def test_nothing_is_replaced_unless_that_is_asked_for(tmp_path):
    there = tmp_path / "photo.saliency.png"
    there.write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"photo\.saliency\.png is there already; give another path, or overwrite"
    ):
        make_result().save(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    make_result().save(tmp_path, overwrite=True)
    assert read(there).max() == 204


@pytest.mark.parametrize("can_link", [True, False])
def test_a_file_that_appears_at_the_last_moment_stays(tmp_path, monkeypatch, can_link):
    mask = tmp_path / "mask.png"
    link = os.link

    def appear(draft, file):
        mask.write_text("mine")
        if not can_link:
            raise OSError(errno.EOPNOTSUPP, "no hard links here")
        link(draft, file)

    monkeypatch.setattr(os, "link", appear)
    with pytest.raises(FileExistsError, match=r"mask\.png is there already; give another path, or overwrite=True"):
        make_result().save(mask)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mask.png": "mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch, overwrite):
    mask = tmp_path / "mask.png"
    if overwrite:
        mask.write_text("mine")
    monkeypatch.setattr(saving, "_write", _write_half)
    with pytest.raises(OSError, match="No space left"):
        make_result().save(mask, overwrite=overwrite)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"] * overwrite


def _write_half(draft, content):
    draft.write_bytes(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_there_are_no_hard_links_a_file_is_written_all_the_same(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    make_result().save(tmp_path / "mask.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
    assert np.array_equal(read(tmp_path / "mask.png"), make_result().mask * 255)


def test_a_new_file_may_be_read_by_those_who_may_read_others(tmp_path):
    (tmp_path / "other").touch()
    make_result().save(tmp_path / "mask.png")
    assert (tmp_path / "mask.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_behind_a_link_the_file_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "there.png").write_text("old")
    (tmp_path / "mask.png").symlink_to("there.png")
    make_result().save(tmp_path / "mask.png", overwrite=True)
    assert (tmp_path / "mask.png").is_symlink()
    assert read(tmp_path / "there.png").max() == 255


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("", ValueError, "^path is ''; give a file that ends in .png, or a folder: '.' is the current one$"),
        ("a\0.png", ValueError, r"^path is 'a\\x00\.png', which has a NUL character; give one without$"),
        (
            "mask.jpg",
            ValueError,
            r"^mask\.jpg ends in \.jpg; masks are saved as \.png\. For a folder, make the folder ",
        ),
        ("maps.v3", ValueError, r"make the folder first, or choose a name without a dot$"),
        ("file/mask.png", NotADirectoryError, "^file is a file, not a folder; give another path$"),
        ("file/deep/maps", NotADirectoryError, "^file is a file, not a folder; give another path$"),
        ("file", NotADirectoryError, "^file is a file, not a folder; give another path$"),
        ("folder.png", IsADirectoryError, r"^folder\.png is a folder; give another path"),
        ("maps", IsADirectoryError, r"^maps/photo\.mask\.png is a folder; give another path"),
        ("dangling.png", FileExistsError, r"^dangling\.png is a link to nothing; remove it, or give another path$"),
        ("dangling.png/maps", FileExistsError, r"^dangling\.png is a link to nothing; remove it, or"),
        ("loop.png", FileExistsError, r"^loop\.png is a link to nothing; remove it"),
        ("pipe.png", ValueError, r"^pipe\.png is no plain file; give another path$"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_where_nothing_can_be_saved_is_refused_in_a_sentence(tmp_path, monkeypatch, path, error, said, overwrite):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("folder.png").mkdir()
    Path("maps/photo.mask.png").mkdir(parents=True)
    Path("dangling.png").symlink_to("absent.png")
    Path("loop.png").symlink_to("loop.png")
    os.mkfifo("pipe.png")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=said):
        make_result().save(path, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("name", ["../photo", "a/b", "/photo", "", "a\0b"])
def test_a_name_that_leads_elsewhere_is_no_name_of_a_file(tmp_path, name):
    with pytest.raises(ValueError, match="can't be the name of a file; give a path that ends in"):
        make_result(name=name).save(tmp_path)
    make_result(name=name).save(tmp_path / "mask.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
