"""Images and masks from lists, folders and releases: all of them, in order, and every fault named with its files."""

import io
import os
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.errors import CollectionError
from pipeline.run import run
from pipeline.training.config import DataConfig
from pipeline.training.pairs import ImageSource, TrainingPair, check_images, find_pairs
from tests.pipeline.evaluation.make import save, truth
from tests.pipeline.make import make_collection
from tests.pipeline.make import make_config as make_run_config
from tests.pipeline.training.make import make_pairs


def make_lists(folder, images, masks):
    """Two list files with these lines; gives the configuration that names them."""
    (folder / "images.txt").write_text("\n".join(images))
    (folder / "masks.txt").write_text("\n".join(masks))
    return DataConfig(train_img_list=folder / "images.txt", train_gt_list=folder / "masks.txt")


def paths_of(pairs):
    return [(pair.image.path, pair.mask.path) for pair in pairs]


def pair_of(image, mask):
    return TrainingPair(image=ImageSource(path=image), mask=ImageSource(path=mask))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("three"), 3, 20, 24)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.data())
@settings(max_examples=30)
def test_lists_give_their_pairs_line_by_line_whatever_blank_lines_and_kinds_of_paths_are_in_them(three, numbers, data):
    def lines(kind):
        for number in numbers:
            yield from [""] * data.draw(st.integers(0, 2))
            path = Path(kind) / f"{number}.png"
            yield str(three / path) if data.draw(st.booleans()) else f" {os.path.join('..', three.name, path)}"
        yield ""

    with tempfile.TemporaryDirectory(dir=three.parent) as folder:
        found = find_pairs(make_lists(Path(folder), list(lines("photos")), list(lines("masks"))))
    assert [(image.resolve(), mask.resolve()) for image, mask in paths_of(found)] == [
        (three / "photos" / f"{number}.png", three / "masks" / f"{number}.png") for number in numbers
    ]


def test_relative_paths_are_those_of_the_list_and_found_from_every_working_folder(three, tmp_path, monkeypatch):
    for kind in ("images", "masks"):
        (three / f"{kind}.txt").write_text(f"{'photos' if kind == 'images' else kind}/1.png\n")
    monkeypatch.chdir(three)
    found = find_pairs(DataConfig(train_img_list=Path("images.txt"), train_gt_list=Path("masks.txt")))
    monkeypatch.chdir(tmp_path)
    assert paths_of(found) == [(three / "photos/1.png", three / "masks/1.png")]
    assert found[0].read()[1].any()


def test_folders_give_their_pairs_by_name(three):
    found = find_pairs(DataConfig(train_img=three / "photos", train_gt=three / "masks"))
    assert paths_of(found) == [(three / "photos" / f"{n}.png", three / "masks" / f"{n}.png") for n in range(3)]


def test_a_release_gives_the_images_and_masks_of_its_tars(tmp_path):
    inputs = make_collection(tmp_path / "in", 7)
    release = Path(run(make_run_config(inputs, tmp_path / "out", tar_bytes=6000)).release)
    tars = sorted((release / "data").rglob("*.tar"))
    assert len(tars) > 1
    content = {}
    for path in tars:
        with tarfile.open(path) as tar:
            content |= {f"{path}:{member.name}": tar.extractfile(member).read() for member in tar}
    found = find_pairs(DataConfig(train_release=release))
    assert {str(pair.image) for pair in found} == {name for name in content if name.endswith(".jpg")}
    for pair in found:
        image, mask = content[str(pair.image)], content[str(pair.mask)]
        assert str(pair.mask) == str(pair.image).replace(".jpg", ".mask.png")
        pixels, object_ = pair.read()
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(image))))
        assert np.array_equal(object_, np.asarray(Image.open(io.BytesIO(mask))) > 0)


def as_palette(disc):
    image = Image.fromarray(disc.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 30, 30])
    return image


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize(
    "encode",
    [
        lambda disc: Image.fromarray(disc.astype(np.uint8) * 255),
        lambda disc: Image.fromarray(disc.astype(np.uint8)),
        lambda disc: Image.fromarray(disc),
        lambda disc: Image.fromarray(np.repeat(disc[:, :, None], 3, 2).astype(np.uint8) * 255),
        lambda disc: Image.fromarray(disc.astype(np.uint16) * 65535),
        as_palette,
    ],
    ids=["0 and 255", "0 and 1", "bits", "RGB", "16 bits", "palette"],
)
def test_masks_of_every_kind_are_read_as_the_same_disc(three, tmp_path, encode):
    encode(truth(1, 20, 24)).save(tmp_path / "mask.png")
    _, found = pair_of(three / "photos/1.png", tmp_path / "mask.png").read()
    assert np.array_equal(found, truth(1, 20, 24))
    _, levels = pair_of(three / "photos/1.png", tmp_path / "mask.png").read_grey()
    assert np.array_equal(levels, truth(1, 20, 24) * np.uint8(255))


# Faults


def test_lists_of_different_lengths_are_named_with_their_counts(three, tmp_path):
    config = make_lists(tmp_path, [str(three / f"photos/{n}.png") for n in range(3)], [str(three / "masks/0.png")])
    with pytest.raises(CollectionError, match=r"images\.txt lists 3 images and .*masks\.txt 1 masks"):
        find_pairs(config)


def test_a_missing_file_is_named_with_its_list_and_line(three, tmp_path):
    config = make_lists(tmp_path, [str(three / "photos/0.png"), "", "gone.png"], [str(three / "masks/0.png")])
    with pytest.raises(CollectionError, match=rf"images\.txt, line 3: there is no file {tmp_path}/gone\.png"):
        find_pairs(config)


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_empty_list_is_named(three, tmp_path, lines):
    with pytest.raises(CollectionError, match=r"masks\.txt lists no files"):
        find_pairs(make_lists(tmp_path, [str(three / "photos/0.png")], lines))


def test_a_list_that_is_missing_or_not_text_is_named(three, tmp_path):
    config = DataConfig(train_img_list=tmp_path / "images.txt", train_gt_list=three / "photos/0.png")
    with pytest.raises(CollectionError, match=r"can't read .*images\.txt as a list of paths"):
        find_pairs(config)
    (tmp_path / "images.txt").write_text(str(three / "photos/0.png"))
    with pytest.raises(CollectionError, match=r"can't read .*0\.png as a list of paths"):
        find_pairs(config)


def test_a_photo_without_a_mask_is_named(tmp_path):
    make_pairs(tmp_path, 3)
    (tmp_path / "masks/1.png").unlink()
    with pytest.raises(CollectionError, match=r"1 of 3 files in .*photos have no partner.*1\.png"):
        find_pairs(DataConfig(train_img=tmp_path / "photos", train_gt=tmp_path / "masks"))


def test_a_folder_that_is_not_a_release_is_named(tmp_path):
    with pytest.raises(CollectionError, match=f"{tmp_path} holds no data/"):
        find_pairs(DataConfig(train_release=tmp_path))


def write_tar(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2000
            tar.addfile(member, io.BytesIO(bytes(2000)))


def test_a_tar_with_an_image_alone_is_named_with_the_image(tmp_path):
    write_tar(tmp_path / "data/test/a.tar", ["1.jpg", "1.mask.png", "2.jpg", "2.json"])
    with pytest.raises(CollectionError, match=r"a\.tar: 2 has only an image or only a mask"):
        find_pairs(DataConfig(train_release=tmp_path))


def test_a_torn_tar_is_named(tmp_path):
    tar = tmp_path / "data/test/a.tar"
    write_tar(tar, ["1.jpg", "1.mask.png"])
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(CollectionError, match=r"a\.tar"):
        find_pairs(DataConfig(train_release=tmp_path))


def test_an_image_and_a_mask_of_different_sizes_are_named_with_both_sizes(three, tmp_path):
    save(tmp_path / "mask.png", truth(1, 20, 23))
    said = rf"image {three}/photos/1\.png: 24 x 20 px, its mask {tmp_path}/mask\.png: 23 x 20 px"
    with pytest.raises(CollectionError, match=said):
        pair_of(three / "photos/1.png", tmp_path / "mask.png").read()


@pytest.mark.parametrize("bad", ["photos", "masks"])
@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "torn"])
def test_what_cannot_be_decoded_is_named_with_its_partner(tmp_path, bad, content):
    make_pairs(tmp_path, 1)
    path = tmp_path / bad / "0.png"
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    pair = pair_of(tmp_path / "photos/0.png", tmp_path / "masks/0.png")
    said = r"can't train on image .*photos/0\.png and mask .*masks/0\.png: "
    with pytest.raises(CollectionError, match=said):
        pair.read()


def test_a_file_that_has_gone_since_is_named(tmp_path):
    make_pairs(tmp_path, 1)
    (pair,) = find_pairs(DataConfig(train_img=tmp_path / "photos", train_gt=tmp_path / "masks"))
    (tmp_path / "masks/0.png").unlink()
    with pytest.raises(CollectionError, match=r"can't train on image .* and mask .*masks/0\.png: "):
        pair.read()


def test_a_mask_that_claims_more_pixels_than_an_image_may_have_is_named(tmp_path):
    make_pairs(tmp_path, 1)
    path = tmp_path / "masks/0.png"
    content = path.read_bytes()
    claim = b"IHDR" + (40_000).to_bytes(4) * 2 + content[24:29]  # Pillow's own check raises no OSError for so many
    path.write_bytes(content[:12] + claim + zlib.crc32(claim).to_bytes(4) + content[33:])
    said = r"masks/0\.png: too_many_pixels: .*masks/0\.png"
    with pytest.raises(CollectionError, match=said):
        pair_of(tmp_path / "photos/0.png", path).read()


def test_the_limit_on_pixels_holds_for_images_and_masks(tmp_path):
    folder = make_pairs(tmp_path, 1)
    pixels = 64 * 64
    options = {"train_img": folder / "photos", "train_gt": folder / "masks"}
    (pair,) = find_pairs(DataConfig(**options, max_image_pixels=pixels))
    assert pair.read()[1].size == pixels
    (pair,) = find_pairs(DataConfig(**options, max_image_pixels=pixels - 1))
    with pytest.raises(CollectionError, match=f"too_many_pixels: .* the limit is {pixels - 1} pixels"):
        pair.read()


# Sizes, before anything is learnt


def test_masks_of_another_size_are_counted_and_named_before_training(tmp_path):
    folder = make_pairs(tmp_path, 8)
    for number in range(1, 8):
        save(folder / "masks" / f"{number}.png", truth(number, 20, 30))
    with pytest.raises(CollectionError, match="7 of 8 masks differ in size from their images") as refused:
        check_images(find_pairs(DataConfig(train_img=folder / "photos", train_gt=folder / "masks")))
    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == 5
    assert lines[0] == (f"image {folder / 'photos/1.png'}: 64 x 64 px, its mask {folder / 'masks/1.png'}: 30 x 20 px")


@given(st.binary(max_size=200))
def test_a_header_that_cannot_be_read_is_refused_before_training(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "head"
    path.write_bytes(content)
    with pytest.raises(CollectionError, match=r"can't train on image .*head and mask .*head: "):
        check_images([pair_of(path, path)])


def test_the_size_is_found_behind_a_long_comment(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "long.jpg", exif=b"Exif\0\0" + bytes(60000), comment=b" " * 60000)
    assert ImageSource(path=tmp_path / "long.jpg").size_px() == (30, 20)


def test_a_member_of_a_tar_has_its_own_size(tmp_path, three):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(three / "photos/0.png", "0.jpg")
        tar.add(three / "masks/1.png", "0.mask.png")
    with tarfile.open(tmp_path / "a.tar") as tar:
        sizes = [
            ImageSource(path=tmp_path / "a.tar", offset=member.offset_data, size_bytes=member.size).size_px()
            for member in tar
        ]
    assert sizes == [(24, 20), (24, 20)]


def test_nothing_of_a_file_that_is_no_list_of_images_is_quoted(tmp_path):
    (tmp_path / "shadow").write_text("root:$6$hunter2:19000:0:99999:7:::\n")
    with pytest.raises(CollectionError, match=r"shadow, line 1: there is no such file") as refused:
        find_pairs(DataConfig(train_img_list=tmp_path / "shadow", train_gt_list=tmp_path / "shadow"))
    assert "hunter2" not in str(refused.value)


def tar_of(folder, members):
    """A release's only tar, with these (name, content, claimed size)."""
    (folder / "data/train").mkdir(parents=True)
    content = io.BytesIO()
    for name, held, claimed in members:
        header = tarfile.TarInfo(name)
        header.size = claimed
        content.write(header.tobuf(tarfile.GNU_FORMAT))
        content.write(held + bytes(-len(held) % 512))
    (folder / "data/train/train-0.tar").write_bytes(content.getvalue() + bytes(1024))
    return DataConfig(train_release=folder)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "1 tars without a pair"),
        ([("a.json", b"{}", 2)], "1 tars without a pair"),
        ([("a.jpg", b"x", 1)], "only an image or only a mask"),
        ([("a.jpg", b"x", 1), ("a.mask.png", b"x", 10**10)], "member 'a.mask.png' claims 10000000000 bytes"),
        ([("a.jpg", b"x", 60_000_000), ("a.mask.png", b"x", 1)], "member 'a.jpg' claims 60000000 bytes, in a tar of "),
        ([("a.jpg", b"x", 1), ("a.jpg", b"x", 1), ("a.mask.png", b"x", 1)], "member 'a.jpg' comes twice"),
    ],
    ids=str,
)
def test_a_tar_without_whole_pairs_is_refused(tmp_path, members, said):
    with pytest.raises(CollectionError, match=said):
        find_pairs(tar_of(tmp_path, members))


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_tar_is_refused_before_it_is_unpacked(tmp_path, mode):
    (tmp_path / "data/train").mkdir(parents=True)
    with tarfile.open(tmp_path / "data/train/train-0.tar", mode) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(CollectionError, match=r"can't read .*train-0\.tar"):
        find_pairs(DataConfig(train_release=tmp_path))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path, kind):
    config = tar_of(tmp_path, [])
    header = tarfile.TarInfo("a.jpg")
    header.type, header.size = kind, 8 << 30
    (tmp_path / "data/train/train-0.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(CollectionError, match="a header claims 8589934592 bytes"):
        find_pairs(config)


def test_an_image_of_40_gib_is_not_read_whole(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(40 << 30)
    assert len(ImageSource(path=tmp_path / "a.jpg").read()) == MAX_IMAGE_BYTES
