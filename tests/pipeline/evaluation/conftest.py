"""What the tests of evaluations share."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def figures(plain_figures):
    """Painting took four fifths of these tests. `test_report.py`, which looks at figures, has its own of this name."""
