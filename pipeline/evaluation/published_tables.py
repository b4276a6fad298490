"""Our figures beside published ones, for `evaluation.md` and the terminal; made from JSON alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.interval_tables import COLUMNS
from pipeline.evaluation.markdown import all_printable, number, table
from pipeline.evaluation.published_figures import FILE, REFERENCE

_NOTES = """
In brackets: ours minus the published figure. Published figures are rounded, so that a difference below 0.0005 is none.
"""
_NO_REFERENCE = f"""
None of these models is {REFERENCE}, whose own figures were not at hand: they show where the field stands, not whether
the paper's figures are met. `{FILE}` says where the paper's figures go.
"""


def published_part(documents: Sequence[Mapping[str, Any]]) -> str:
    """The table of the datasets, one row for each model, and what it means.

    Args: documents: content of each `evaluation.json`; those without published figures are left out.
    """
    documents = [all_printable(document) for document in documents if document["published"]]
    if not documents:
        return f"{FILE} has no figures of these datasets.\n"
    models = [model for document in documents for model in document["published"]["models"]]
    columns = [name for name in COLUMNS if any(name in model["figures"] for model in models)]
    rows = [row for document in documents for row in _rows(document, columns)]
    page = "\n".join(table(["", "", *(COLUMNS[name] for name in columns)], rows)) + "\n" + _NOTES
    for document in documents:
        found = document["published"]
        if found["images"] != found["images_of_the_dataset"]:
            page += (
                f"\n**{document['name']} was measured on {found['images']} images, and published figures are of "
                f"{found['images_of_the_dataset']}: they can't be compared.**\n"
            )
    if all(model["name"] != REFERENCE for model in models):
        page += _NO_REFERENCE
    sources = dict.fromkeys(f"- {model['name']}: {model['source']}" for model in models)
    return page + "\nSources:\n\n" + "\n".join(sources) + "\n"


def _rows(document: Mapping[str, Any], columns: Sequence[str]) -> list[list[str]]:
    rows = [[document["name"], "ours", *(number(document["metrics"][name]) for name in columns)]]
    for model in document["published"]["models"]:
        cells = [_cell(model["figures"].get(name)) for name in columns]
        rows.append([document["name"], model["name"], *cells])
    return rows


def _cell(found: Mapping[str, float] | None) -> str:
    return f"{number(found['published'], '.3f')} ({number(found['difference'], '+.4f')})" if found else "–"
