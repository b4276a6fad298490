"""Tables with intervals, for `evaluation.md` and for comparisons; made from JSON alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.markdown import all_printable, number, table
from pipeline.evaluation.on_release.label_errors import (
    UNCHECKED,
    explained_in_words,
    of_one_in_words,
    of_two_in_words,
)
from pipeline.release.templates import as_text

COLUMNS = {
    "mae": "MAE ↓",
    "s_measure": "S ↑",
    "weighted_f": "wF ↑",
    "max_f": "max F ↑",
    "mean_of_max_f": "mean of max F ↑",
    "mean_f": "mean F ↑",
    "adaptive_f": "adp F ↑",
    "max_e": "max E ↑",
    "mean_of_max_e": "mean of max E ↑",
    "mean_e": "mean E ↑",
    "adaptive_e": "adp E ↑",
    "iou": "IoU ↑",
}
"""Figure → its heading, in the order of tables."""
FIGURES = ("mae", "s_measure", "weighted_f", "max_f", "mean_of_max_f", "max_e", "iou")
"""What tables with intervals show; all figures are in the JSON."""
_HEADS = [COLUMNS[name] for name in FIGURES]
NO_RELEASE = "none"
"""What a comparison names in place of a release."""
SHOWN = 20
_INTERVAL_NOTES = """
In brackets: {confidence:.0%} interval of the bootstrap ({draws:,} draws of the images, percentiles, seed {seed}). It
says how far a figure depends on which images were measured, not how right their masks are. *max F* is the maximum of
the mean curve, *mean of max F* the mean of each image's own maximum: papers call both max F.
"""
_REJECTED_NOTES = """
Rejected images are measured against the masks that they would have had: where the saliency of the run's candidate is at
least 0.5. **These masks are worse estimates than those of accepted images**: the policy rejected most of them because
it did not trust them. A low figure there is the model's fault or the mask's, and the table can't tell which. A model
that resembles the one that drew the masks shares its errors, and looks better than it is. In *all*, accepted images
without a usable prediction count by their own rule, above.
"""
_COMPARED_NOTES = """
*difference*: second minus first, with its {confidence:.0%} interval of the paired bootstrap ({draws:,} draws, seed
{seed}). *p*: share of {exchanges:,} random exchanges of the two models' results, image by image, that give a difference
as large (permutation test). Each row is a test of its own: for two equal models, one row in twenty has a p below .05.
"""


def intervals_table(values: Mapping[str, Any]) -> str:
    """The figures of all images with their intervals."""
    row = _cells(values["metrics"], values["intervals"])
    return "\n".join(table(_HEADS, [row])) + "\n" + _INTERVAL_NOTES.format(**values["intervals_made_by"])


def release_part(release: Mapping[str, Any], mae: float | None) -> str:
    """Which release it was, what was missing or left over, what its labels are worth, and the figures by stratum."""
    lines = [
        f"Measured on {release['name']} {release['version']}, splits {', '.join(release['splits'])}: "
        f"{release['images']} images. SHA-256 of its `release.json`: `{release['release_json_sha256']}`.",
        "",
        *_left_over(release),
        *_label_errors(release.get("certificate"), of_one_in_words(release.get("certificate"), mae)),
    ]
    for kind, found in release["strata"].items():
        rows = [[stratum["stratum"], str(stratum["images"]), *_figures(stratum)] for stratum in found["strata"]]
        lines += [f"### By {kind}", "", f"{found['meaning'][0].upper()}{found['meaning'][1:]}.", ""]
        lines += [*table(["", "images", *_HEADS], rows), ""]
    if rejected := release.get("rejected"):
        lines += ["### Accepted and rejected", "", *_rejected(rejected)]
    return "\n".join(lines)


def comparison(values: Mapping[str, Any]) -> str:
    """The page of a comparison."""
    values = all_printable(values)
    rows = [
        [
            heading,
            number(found["first"]),
            number(found["second"]),
            number(found["difference"], "+.4f") + _interval(found["interval"], "+.4f"),
            number(found["p"], ".4f"),
        ]
        for name, heading in COLUMNS.items()
        if (found := values["figures"].get(name))
    ]
    lines = [f"# {values['second']} against {values['first']}", "", f"{values['images']} images.", ""]
    if values["release"] != NO_RELEASE:
        follows = of_two_in_words(values["certificate"], values["figures"]["mae"]["difference"])
        lines += _label_errors(values["certificate"], follows)
    lines += table(["", "first", "second", "difference", "p"], rows)
    page = "\n".join(lines) + "\n" + _COMPARED_NOTES.format(**values["made_by"])
    differing = [
        [image["name"], *(number(image[which][name]) for name in ("mae", "s_measure") for which in ("first", "second"))]
        for image in values["differ_most"]
    ]
    heads = ["image", "MAE of the first", "MAE of the second", "S of the first", "S of the second"]
    return page + "\n## Images on which they differ most by MAE\n\n" + "\n".join(table(heads, differing)) + "\n"


def _rejected(rejected: Mapping[str, Any]) -> list[str]:
    unusable = rejected["unusable"]
    lines = [
        f"{rejected['images']} images were rejected. {rejected['measured']} of them were measured; "
        f"{rejected['missing']} have no prediction, {len(unusable)} an unusable one, and are left out. "
        f"{rejected['empty_masks']} of the masks have no object. Masks are those of the run `{rejected['run']}`.",
        "",
        *(f"- {entry['name']}: {entry['reason']}" for entry in unusable[:SHOWN]),
        *([f"- and {len(unusable) - SHOWN} more, in `evaluation.json`"] if len(unusable) > SHOWN else []),
        *([""] if unusable else []),
    ]
    rows = [[group["stratum"], str(group["images"]), *_figures(group)] for group in rejected["groups"]]
    lines += [*table(["", "images", *_HEADS], rows), *_REJECTED_NOTES.splitlines(), ""]
    if rejected["by_reason"]:
        rows = [
            [group["stratum"], f"{group['images']} of {group['rejected']}", *_figures(group)]
            for group in rejected["by_reason"]
        ]
        lines += [*table(["reason", "images", *_HEADS], rows), ""]
    return lines


def _label_errors(section: Mapping[str, Any] | None, follows: str) -> list[str]:
    """What is certain of the masks, and what follows for the figures."""
    if section is None:
        return [UNCHECKED, ""]
    bold = f"**{as_text(section['sentence'])}** (annex {section['annex']} of the release)"
    rest = f"{explained_in_words(section)} {follows}".rstrip()
    limits = "Masks that people accepted count as free of errors. The other figures have no such bound."
    return [bold, "", f"{rest} {limits}", ""]


def _left_over(release: Mapping[str, Any]) -> list[str]:
    lines = []
    missing, unusable = release["missing"], release["unusable"]
    if missing or unusable:
        lines += [f"**Images without a prediction: {len(missing)}; with an unusable one: {len(unusable)}.** "]
        lines[-1] += f"{release['rule'][0].upper()}{release['rule'][1:]}."
        lines += ["", *(f"- {name}: no prediction" for name in missing[:SHOWN])]
        lines += [f"- {entry['name']}: {entry['reason']}" for entry in unusable[:SHOWN]]
        more = sum(max(0, len(names) - SHOWN) for names in (missing, unusable))
        lines += [f"- and {more} more, in `evaluation.json`"] if more else []
        lines.append("")
    if release["surplus"]:
        more = release["surplus"] - len(release["surplus_names"])
        names = ", ".join(f"`{name}`" for name in release["surplus_names"]) + (f" and {more} more" if more else "")
        lines += [f"Predictions of none of these images, which do not count: {release['surplus']}, {names}.", ""]
    return lines


def _figures(stratum: Mapping[str, Any]) -> list[str]:
    return _cells(stratum["metrics"], stratum["intervals"])


def _cells(metrics: Mapping[str, float | None], intervals: Mapping[str, Sequence[float]]) -> list[str]:
    return [number(metrics[name]) + _interval(intervals.get(name), ".4f") for name in FIGURES]


def _interval(found: Sequence[float] | None, form: str) -> str:
    return f" ({number(found[0], form)} to {number(found[1], form)})" if found else ""
