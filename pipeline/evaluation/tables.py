"""Write `evaluation.md`: the figures for people, made from the content of `evaluation.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.risk_coverage import ERRORS
from pipeline.shown import printable

COLUMNS = {
    "mae": "MAE ↓",
    "s_measure": "S ↑",
    "weighted_f": "wF ↑",
    "max_f": "max F ↑",
    "mean_f": "mean F ↑",
    "adaptive_f": "adp F ↑",
    "max_e": "max E ↑",
    "mean_e": "mean E ↑",
    "adaptive_e": "adp E ↑",
    "iou": "IoU ↑",
}
SHOWN_FAILURES = 20

_HOW = {
    True: "each stretched to 0..1, as in published figures",
    False: "as they are (value v means v / 255), not stretched: not comparable with most published figures",
}
_NOTES = """
Max and mean F and E are taken over the thresholds of the dataset's mean curve. F uses beta² = 0.3, wF beta² = 1; IoU
compares map and mask at 0.5. Computed by pysodmetrics {pysodmetrics}. See `curves.png`; `images.parquet` has a row per
image.
"""
_RISK_NOTES = """
Images are dropped by a score, the worst first. *AURC*: mean error of the kept images, averaged over all shares kept;
compare it with *oracle* (drops by the error itself) and *random* (the mean error). *gain*: 1 is as good as the oracle,
0 as random. *third dropped*: how much dropping the worst third by this score lowers the mean error of the rest. See
`risk_coverage.png`.
"""
_SINGLE_NOTE = """
Each map is a single ensemble member: without a variance, there are no scores whose risk-coverage could be measured.
"""


def markdown(values: Mapping[str, Any]) -> str:
    """Write the page of one evaluation."""
    values = _printable(values)
    counts, settings = values["counts"], values["settings"]
    lines = [f"# {values['name']}", "", _counted(counts), ""]
    lines += [
        f"Maps of `{settings['maps']}` against masks of `{settings['masks']}`; {_HOW[settings['normalize']]}.",
        "",
    ]
    lines += metrics_table([values])
    page = "\n".join(lines) + "\n" + _NOTES.format(**values["versions"])
    if values["risk_coverage"]:
        page += "\n## How well our scores predict the errors\n\n" + "\n".join(_risk_table(values)) + "\n" + _RISK_NOTES
    elif values["made_with"].get("ensemble_size") == "1":
        page += _SINGLE_NOTE
    if values["failures"]:
        lines = [f"- {failure['name']}: {failure['reason']}" for failure in values["failures"][:SHOWN_FAILURES]]
        more = len(values["failures"]) - SHOWN_FAILURES
        lines += [f"- and {more} more, in `evaluation.json`"] if more > 0 else []
        page += "\n## Failed\n\n" + "\n".join(lines) + "\n"
    return page


def metrics_table(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write one row per dataset; figures have four decimals."""
    rows = [
        [printable(document["name"]), str(document["counts"]["measured"])]
        + [_number(document["metrics"][name]) for name in COLUMNS]
        for document in documents
    ]
    return _table(["", "images", *COLUMNS.values()], rows)


def _printable(value: Any) -> Any:
    """The value with every text in it as people may see it: names of files may have been made to confuse."""
    if isinstance(value, Mapping):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def _counted(counts: Mapping[str, int]) -> str:
    parts = [f"{counts['measured']} of {counts['pairs']} images measured"]
    if counts["failed"]:
        parts.append(f"**{counts['failed']} failed** and are not in the figures")
    if counts["resized"]:
        parts.append(f"{counts['resized']} maps resized to their masks")
    if counts["empty_truths"]:
        parts.append(f"{counts['empty_truths']} masks without an object (their F and wF are 0 whatever is predicted)")
    if counts["constant_maps"]:
        parts.append(f"{counts['constant_maps']} maps with a single value")
    return "; ".join(parts) + "."


def _risk_table(values: Mapping[str, Any]) -> list[str]:
    rows = []
    for error, called in ERRORS.items():
        for score, by_error in values["risk_coverage"].items():
            found = by_error[error]
            rows.append(
                [called, f"`{score}`", by_error["worse_when"]]
                + [_number(found[name]) for name in ("aurc", "aurc_oracle", "aurc_random")]
                + [_number(found["gain"], ".2f"), _number(found["lowered_by"], ".1%")]
            )
    return _table(["error", "score", "worse when", "AURC ↓", "oracle", "random", "gain ↑", "third dropped ↑"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def _number(value: float | None, form: str = ".4f") -> str:
    return "–" if value is None else format(value, "z" + form)  # z: no -0.00
