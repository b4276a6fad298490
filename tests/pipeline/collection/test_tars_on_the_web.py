"""Tars on a web server that lists no folders: named by braces, read by ranges, with a signature in every address."""

from http.server import BaseHTTPRequestHandler

import pytest

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.kept import Kept
from pipeline.errors import CollectionError
from tests.pipeline.collection.test_tars import contents, jpeg
from tests.pipeline.files.test_tar_headers import make_tar
from tests.pipeline.files.web_server import serving

TARS = {f"/shards/{number}.tar": make_tar({f"{number}.jpg": jpeg(number)}) for number in range(3)}


class Handler(BaseHTTPRequestHandler):
    """Answers those who have the signature."""

    def do_HEAD(self):
        self.answer(with_content=False)

    def do_GET(self):
        self.server.reads.append(self.path)
        self.answer(with_content=True)

    def answer(self, *, with_content):
        path, _, query = self.path.partition("?")
        content = TARS.get(path)
        if content is None or query != "sig=secret":
            self.send_error(404)
            return
        part, status = content, 200
        if "Range" in self.headers:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            part, status = content[first : last + 1], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{len(content)}"')
        self.end_headers()
        self.wfile.write(part if with_content else b"")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with serving(Handler) as running:
        running.reads = []
        yield running


def url_of(server, name):
    return f"http://127.0.0.1:{server.server_port}/shards/{name}?sig=secret"


def test_braces_name_tars_whose_images_have_names_without_the_signature(server, tmp_path):
    def session():
        kept = Kept(str(tmp_path))
        samples = read_collection(InputConfig(images=url_of(server, "{0..2}.tar")), kept).samples
        kept.write()
        return samples

    samples = session()
    assert contents(samples) == {f"{number}/{number}.jpg": jpeg(number) for number in range(3)}
    server.reads.clear()
    assert session() == samples
    assert not [path for path in server.reads if path.startswith(tuple(TARS))]


def test_one_tar_is_read_too(server):
    (sample,) = read_collection(InputConfig(images=url_of(server, "1.tar"))).samples
    assert sample.file_name == "1/1.jpg"


def test_a_tar_that_is_not_there_is_refused_by_name(server):
    with pytest.raises(CollectionError, match=r"/shards/3\.tar"):
        read_collection(InputConfig(images=url_of(server, "{0..3}.tar")))
