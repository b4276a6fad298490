"""SHA-256 of the page of audited images in every version of this tool: a check knows pages of other versions by them.

To edit one of these files, add its new digest; a test names the missing ones. Never remove a line: annexes with such
pages exist. Files that the page has in common with that of a release are in `pipeline/release/page/known.py`."""

from collections.abc import Mapping

from pipeline.release.page.known import KNOWN_ASSETS

KNOWN_PAGES: Mapping[str, frozenset[str]] = {
    **KNOWN_ASSETS,
    "index.html": frozenset(
        {
            "c460a0b216926b5d6de687c07312bd0d812adc76424c4684b0f1be49cbaae00b",
        }
    ),
    "page/audited.css": frozenset(
        {
            "f031f3d7fd2d73357fc1e791f84162892a17b4fc0ad45f2bb457e0eea63cb4ec",
        }
    ),
    "page/audited.js": frozenset(
        {
            "9e47102ba359d724bfaf0b6ab46b4bb63f6074c6173a88c730348e846dd19a48",
        }
    ),
}
"""File, relative to the annex → digests that it has had."""
