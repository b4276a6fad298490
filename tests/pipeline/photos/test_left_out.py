"""What is said of files that will not be predicted: photos of subfolders, raw photos, formats without a codec."""

import logging

import pytest

from pipeline.errors import CollectionError
from pipeline.photos import find, left_out
from pipeline.photos.find import find_photos
from pipeline.photos.left_out import log_left_out, require_codecs

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"


@pytest.fixture(autouse=True)
def _without_codecs(monkeypatch):
    monkeypatch.setattr(left_out, "OPENED", ("JPEG", "PNG"))


def write_files(folder, **contents):
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return find_photos(str(folder)).photos


def test_photos_of_subfolders_are_counted_aloud(tmp_path, caplog):
    write_files(tmp_path, a_jpg=b"", b__a_jpg=b"", b__b_png=b"")
    log_left_out("photos", find_photos(str(tmp_path)))
    assert caplog.messages == ["leaving out 2 photos in subfolders of photos; --recursive reads them too"]


def test_a_whole_disk_below_the_folder_is_not_counted_to_its_end(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(find, "MOST_COUNTED", 2)
    monkeypatch.setattr(left_out, "MOST_COUNTED", 2)
    write_files(tmp_path, a_jpg=b"", b__a_jpg=b"", b__b_png=b"", c__c_png=b"")
    log_left_out("photos", find_photos(str(tmp_path)))
    assert caplog.messages == ["leaving out 2 or more photos in subfolders of photos; --recursive reads them too"]


def test_raw_photos_are_called_so_whatever_they_begin_with(tmp_path, caplog):
    write_files(tmp_path, a_jpg=b"", b_NEF=b"MM\0*", c_cr3=b"\0\0\0\x18ftypcrx ", d_mov=b"\0\0\0\x14ftypqt  ")
    with caplog.at_level(logging.INFO):
        log_left_out(str(tmp_path), find_photos(str(tmp_path)))
    assert "2 raw, to be developed first (b.NEF, for example), 1 QuickTime video (d.mov, for" in caplog.messages[0]


def test_some_photos_without_a_codec_are_announced_with_what_to_install(tmp_path, caplog):
    require_codecs(write_files(tmp_path, a_jpg=b"", b_heic=HEIC, c_HEIC=HEIC, d_heic=b"\xff\xd8\xff a JPEG"))
    said = (
        f"2 of 4 photos can't be read (2 HEIC; {tmp_path}/b.heic, for example). To read HEIC: pip install pillow-heif"
    )
    assert caplog.messages == [said]


def test_photos_none_of_which_can_be_decoded_are_refused(tmp_path):
    photos = write_files(tmp_path, a_heic=HEIC, b_jxl=b"\xff\x0a", c_avif=b"\0\0\0\x1cftypavif")
    with pytest.raises(CollectionError) as refused:
        require_codecs(photos)
    assert str(refused.value) == (
        f"3 of 3 photos can't be read (1 HEIC, 1 JPEG XL, 1 AVIF; {tmp_path}/a.heic, for example). "
        "To read HEIC: pip install pillow-heif. To read JPEG XL: pip install pillow-jxl-plugin. "
        "To read AVIF, use a Pillow that was built with it: pip install --force-reinstall pillow"
    )


def test_photos_that_can_be_decoded_or_are_no_photos_at_all_are_not_spoken_of(tmp_path, caplog):
    photos = write_files(tmp_path, a_jpg=b"", b_heic=b"no image")
    (tmp_path / "b.heic").unlink()
    require_codecs(photos)
    assert caplog.messages == []
