"""Write `evaluation.md`: the figures for people, made from the content of `evaluation.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.interval_tables import COLUMNS, intervals_table, release_part
from pipeline.evaluation.markdown import all_printable, number, table
from pipeline.evaluation.published_tables import published_part
from pipeline.evaluation.risk_coverage import ERRORS
from pipeline.shown import printable

SHOWN_FAILURES = 20
SHOWN_PAIRS = 10
_CAUGHT_HEADS = ("caught, 5 % lost ↑", "caught, 10 % lost ↑")

_HOW = {
    True: "each stretched to 0..1, as in published figures",
    False: "as they are (value v means v / 255), not stretched: not comparable with most published figures",
}
_NOTES = """
Max and mean F and E are taken over the thresholds of the dataset's mean curve; *mean of max* is the mean of what each
image has at its own best threshold. F uses beta² = 0.3, wF beta² = 1; IoU compares map and mask at 0.5. Computed by
pysodmetrics {pysodmetrics}. See `curves.png`; `images.parquet` has a row per image. Digest of the scorer:
`{digest}`.
"""
_RISK_NOTES = """
Images are dropped by a score, the worst first. *AURC*: mean error of the kept images, averaged over all shares kept;
compare it with *oracle* (drops by the error itself) and *random* (the mean error). *gain*: 1 is as good as the oracle,
0 as random. *third dropped*: how much dropping the worst third by this score lowers the mean error of the rest. See
`risk_coverage.png`.
"""
_TOGETHER_NOTES = """
Together, an image is as bad as the mean of its ranks by both scores; nothing is fitted. Here are the {shown} of {pairs}
pairs with the lowest AURC of 1 - IoU; all of them are in `evaluation.json`.
"""
_CAUGHT_NOTES = """
The policy of its run accepts {accepted} of the images. Confidently wrong are the {wrong} of them with the lowest IoU,
at most {highest_iou_of_wrong:.2f} (a fifth, rounded down), and the other {good} are good. *caught*: how many of the
wrong ones a bound on the score can drop while it drops at most 5 % or 10 % of the good ones. The bound is chosen on the
same images, and one image more or less is a large step where they are few.
"""
_FIT_NOTES = """
By the method `{method}`, on {images} images, of which {bad} are bad. Each image was judged by coefficients of a fit
without it ({folds} folds). With few images, figures of other photographs may differ widely. Brier score {brier:.4f},
and {brier_of_share:.4f} for saying the share of bad masks of every image.
"""
_SINGLE_NOTE = """
Each map is a single ensemble member: without a variance, there are no scores whose risk-coverage could be measured.
"""


def markdown(values: Mapping[str, Any]) -> str:
    """Write the page of one evaluation."""
    values = all_printable(values)
    counts, settings = values["counts"], values["settings"]
    lines = [f"# {values['name']}", "", _counted(counts), ""]
    lines += [
        f"Maps of `{settings['maps']}` against masks of `{settings['masks']}`; {_HOW[settings['normalize']]}.",
        "",
    ]
    lines += metrics_table([values])
    page = "\n".join(lines) + "\n" + _NOTES.format(digest=values["scorer"]["digest"], **values["versions"])
    if values["intervals"]:
        page += "\n## Intervals\n\n" + intervals_table(values)
    if values["published"]:
        page += "\n## Published figures\n\n" + published_part([values])
    if values["release"]:
        page += "\n## The release\n\n" + release_part(values["release"], values["metrics"]["mae"])
    if values["risk_coverage"]:
        page += "\n## How well our scores predict the errors\n\n" + "\n".join(_risk_table(values)) + "\n" + _RISK_NOTES
        if caught := values["confidently_wrong"]:
            page += "\n## What the policy is wrongly sure of\n\n" + "\n".join(_caught_table(caught)) + "\n"
            page += _CAUGHT_NOTES.format(**caught)
        if pairs := _best_pairs(values):
            page += "\n## Two scores together\n\n" + "\n".join(_together_table(pairs, caught)) + "\n"
            page += _TOGETHER_NOTES.format(shown=len(pairs), pairs=len(values["together"]))
        if fitted := values["combination"]:
            page += "\n## The combination\n\n" + "\n".join(_fit_table(fitted)) + "\n" + _fit_notes(fitted)
    elif values["made_with"].get("ensemble_size") == "1":
        page += _SINGLE_NOTE
    if values["failures"] and not values["release"]:  # a release has said which
        lines = [f"- {failure['name']}: {failure['reason']}" for failure in values["failures"][:SHOWN_FAILURES]]
        more = len(values["failures"]) - SHOWN_FAILURES
        lines += [f"- and {more} more, in `evaluation.json`"] if more > 0 else []
        page += "\n## Failed\n\n" + "\n".join(lines) + "\n"
    return page


def metrics_table(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write one row per dataset; figures have four decimals."""
    rows = [
        [printable(document["name"]), str(document["counts"]["measured"] + document["counts"]["worst"])]
        + [number(document["metrics"][name]) for name in COLUMNS]
        for document in documents
    ]
    return table(["", "images", *COLUMNS.values()], rows)


def _counted(counts: Mapping[str, int]) -> str:
    parts = [f"{counts['measured']} of {counts['pairs']} images measured"]
    if counts["worst"]:
        parts.append(f"**{counts['worst']} without a usable prediction count as the worst**")
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
                + [number(found[name]) for name in ("aurc", "aurc_oracle", "aurc_random")]
                + [number(found["gain"], ".2f"), number(found["lowered_by"], ".1%")]
            )
    return table(["error", "score", "worse when", "AURC ↓", "oracle", "random", "gain ↑", "third dropped ↑"], rows)


def _caught_table(caught: Mapping[str, Any]) -> list[str]:
    rows = [[f"`{score}`", *_caught_cells(found, caught)] for score, found in caught["caught"].items()]
    return table(["score", *_CAUGHT_HEADS], rows)


def _together_table(pairs: Sequence[Mapping[str, Any]], caught: Mapping[str, Any] | None) -> list[str]:
    rows = [
        [" + ".join(f"`{score}`" for score in pair["scores"])]
        + [number(pair[error]["aurc"]) for error in ERRORS if error in pair]
        + (_caught_cells(pair["caught"], caught) if caught else [])
        for pair in pairs
    ]
    heads = [f"AURC of {called} ↓" for error, called in ERRORS.items() if error in pairs[0]]
    return table(["scores", *heads, *(_CAUGHT_HEADS if caught else ())], rows)


def _fit_table(fitted: Mapping[str, Any]) -> list[str]:
    found = fitted["out_of_fold"]
    rows = [
        [called, number(found["aurc"][error]), number(found["aurc_of_baseline"].get(error))]
        for error, called in ERRORS.items()
        if error in found["aurc"]
    ]
    return table(["error", "AURC of the combination ↓", "of `ensemble_variance`"], rows)


def _fit_notes(fitted: Mapping[str, Any]) -> str:
    found = fitted["out_of_fold"]
    notes = _FIT_NOTES.format(**{name: fitted[name] for name in ("method", "images", "bad", "folds")}, **found)
    for name, caught in found["caught"].items():
        share = {"lost_5_percent": "5 %", "lost_10_percent": "10 %"}[name]
        notes += (
            f"\n- `combination <= {found['bounds'][name]}` drops {caught} of {found['wrong']} confidently wrong masks, "
            f"and at most {share} of the good ones."
        )
    return notes + f"\n\nCoefficients: {', '.join(f'`{text}`' for text in fitted['combination'])}.\n"


def _best_pairs(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pairs that find the errors of masks best, the best first."""
    known = [pair for pair in values["together"] if "iou_error" in pair]
    return sorted(known, key=lambda pair: pair["iou_error"]["aurc"])[:SHOWN_PAIRS]


def _caught_cells(found: Mapping[str, int], caught: Mapping[str, Any]) -> list[str]:
    return [f"{found[name]} of {caught['wrong']}" for name in ("lost_5_percent", "lost_10_percent")]
