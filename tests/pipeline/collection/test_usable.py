"""A collection that has no usable image is refused at the start; one that has any is not."""

import json
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipeline.collection import usable
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import open_store
from pipeline.collection.usable import require_usable
from pipeline.errors import CollectionError
from tests.pipeline.make import make_jpeg

JPEG = make_jpeg(1, 8, 6)


def inputs_of(tmp_path, images, *names, **options):
    """Input options; with names those of annotations too."""
    annotations = tmp_path / "labels.json" if names else ""
    if names:
        entries = [{"id": number, "file_name": name, "width": 8, "height": 6} for number, name in enumerate(names)]
        annotations.write_text(json.dumps({"images": entries}))
    return InputConfig(images=str(images), annotations=str(annotations), **options)


def message_of(inputs):
    with pytest.raises(CollectionError) as caught:
        require_usable(read_collection(inputs), inputs)
    return str(caught.value)


def require(inputs):
    require_usable(read_collection(inputs), inputs)


def make_zip(path, names, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, JPEG)
    return path


def tear(path, *names):
    """Change bytes of members, so that their sums are wrong."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for name in names:
            content[archive.getinfo(name).header_offset + 120] ^= 0xFF
    path.write_bytes(content)


def test_one_image_is_enough(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(JPEG)
    require(inputs_of(tmp_path, tmp_path / "in", "a.jpg", "absent.jpg", "../b.jpg"))
    require(inputs_of(tmp_path, tmp_path / "in"))


@pytest.mark.parametrize("names", [("../a.jpg", "/etc/passwd"), ("../a.jpg", "absent.jpg")])
def test_names_that_all_lead_out_or_nowhere_are_refused_with_the_first_reason(tmp_path, names):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.jpg").write_bytes(JPEG)
    said = message_of(inputs_of(tmp_path, tmp_path / "in", *names))
    assert "has none of the 2 images in a form that can be read. The first, unsafe_path: file_name '../a.jpg'" in said


def test_a_zip_of_unreadable_members_is_refused(tmp_path):
    images = make_zip(tmp_path / "x.zip", ["a.jpg", "b.jpg"], zipfile.ZIP_LZMA)
    for names in ((), ("a.jpg", "b.jpg")):
        said = message_of(inputs_of(tmp_path, images, *names))
        assert "The first, unreadable: file_name 'a.jpg': compression method 14; only stored (0)" in said


def test_links_that_all_lead_out_are_refused_with_the_option_that_reads_them(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "blob").write_bytes(JPEG)
    (tmp_path / "in/a.jpg").symlink_to("../blob")
    assert "--follow-links reads it" in message_of(inputs_of(tmp_path, tmp_path / "in"))
    require(inputs_of(tmp_path, tmp_path / "in", follow_links=True))


def test_photos_that_are_all_undecodable_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"<html>no image</html>")
    assert "The first, undecodable: " in message_of(inputs_of(tmp_path, tmp_path / "in"))


def test_images_that_are_listed_but_all_torn_are_refused_before_any_work(tmp_path):
    names = [f"{number}.jpg" for number in range(8)]
    images = make_zip(tmp_path / "x.zip", names)
    tear(images, *names)
    assert "has none of the 8 images in a form that can be read. The first, unreadable: " in message_of(
        inputs_of(tmp_path, images, *names)
    )


def test_the_first_readable_image_ends_the_search(tmp_path):
    names = [f"{number}.jpg" for number in range(8)]
    images = make_zip(tmp_path / "x.zip", names)
    tear(images, *names[:-1])
    require(inputs_of(tmp_path, images, *names))


def test_a_few_images_of_many_are_tried_and_the_message_says_how_many(tmp_path, monkeypatch):
    names = [f"{number:03d}.jpg" for number in range(250)]
    images = make_zip(tmp_path / "x.zip", names)
    tried, read = [], usable.read_bytes
    monkeypatch.setattr(usable, "read_bytes", lambda sample, **limit: tried.append(sample.key) or read(sample, **limit))
    inputs = inputs_of(tmp_path, images, *names)
    require(inputs)
    assert len(tried) == 1
    tear(images, *names)
    assert "in a form that can be read; 100 were tried. The first, " in message_of(inputs)
    assert len(tried) == 1 + 3 + 100


class WholeFilesOnly(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(self.server.content)

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_a_zip_on_a_server_without_ranges_is_refused_with_what_to_do(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), WholeFilesOnly) as server:
        server.content = make_zip(tmp_path / "x.zip", ["a.jpg"]).read_bytes()
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/x.zip"
            with pytest.raises(CollectionError) as caught:
                open_store(InputConfig(images=url))
        finally:
            server.shutdown()
            thread.join()
    assert str(caught.value) == (
        f"images {url}: the server sends whole files only, not parts; copy the file, or use another server"
    )
