"""Renders the templates of a release's texts; values are escaped in HTML and inserted as they are in Markdown.

Control characters of values are escaped in both.
"""

from typing import Any

import jinja2

from pipeline.shown import printable

AGREEMENT = "Agreement is not correctness: an ensemble can agree on the wrong object."
"""What card, page and Croissant all say."""
UNCHECKED = "No human has checked them, unless annex/ holds a certificate."
"""The same, of the masks: a release never changes, so it can't know what was added to it later."""
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline.release", "."),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: printable(value) if type(value) is str else value,
    # Every value in Markdown is a number, a digest or one of our own names, or has been made harmless before.
    autoescape=lambda name: name is None or not name.endswith(".md.jinja"),
)


def render(template: str, **values: Any) -> bytes:
    """Fill in a template of this package; a missing value is an error."""
    return _TEMPLATES.get_template(template).render(**values).encode()
