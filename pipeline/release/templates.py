"""Renders the templates of a release's texts; values are escaped in HTML and inserted as they are in Markdown.

Control characters of values are escaped in both.
"""

from typing import Any

import jinja2

from pipeline.shown import printable

AGREEMENT = "Agreement is not correctness: an ensemble can agree on the wrong object."
"""What card, page and Croissant all say."""
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


def as_text(text: str) -> str:
    """Turn a sentence from outside, such as what a user's pass says, into text: its punctuation stays readable."""
    words = printable(" ".join(text.split())[:1000])
    return "".join(
        letter if letter.isalnum() or letter in " -_.,:;%/()'+=?" else f"&#{ord(letter)};" for letter in words
    )


def as_cell(text: str) -> str:
    """Turn a name from outside into the text of a table cell: no Markdown, HTML or line break survives."""
    words = printable(" ".join(text.split())[:200])
    return "".join(letter if letter.isalnum() or letter in " -_" else f"&#{ord(letter)};" for letter in words)
