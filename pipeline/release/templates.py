"""The templates of a release's texts: Markdown as it is, HTML escaped."""

from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline.release", "."),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    # In Markdown whatever gets in is a number, a digest, a name of ours, or was made harmless before.
    autoescape=lambda name: name is None or not name.endswith(".md.jinja"),
)


def render(template: str, **values: Any) -> bytes:
    """A template of this package, filled in; a value that is missing is an error."""
    return _TEMPLATES.get_template(template).render(**values).encode()
