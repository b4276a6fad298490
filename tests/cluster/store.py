"""An object store for the machines: moto, on a machine of its own (`python -m tests.cluster.store`)."""

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from tests.pipeline.s3_server import FaultyS3

PORT = 5000
BUCKET = "bench-1"
"""The name that the server expects; whoever uses it first makes it."""


class Quiet(MotoRequestHandler):
    def log_request(self, *_arguments):
        """Log nothing, instead of thousands of lines."""


if __name__ == "__main__":
    make_server("0.0.0.0", PORT, FaultyS3(), threaded=True, request_handler=Quiet).serve_forever()
