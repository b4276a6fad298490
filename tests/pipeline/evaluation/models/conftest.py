"""The small releases of the tests of releases."""

from tests.pipeline.release.conftest import release_of, released

__all__ = ["release_of", "released"]
