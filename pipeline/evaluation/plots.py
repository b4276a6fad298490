"""Draw two figures of an evaluation: curves over the threshold, and the gain from dropping images by our scores."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.risk_coverage import ERRORS
from pipeline.evaluation.summary import Summary
from pipeline.shown import printable

DPI = 120
_STROKES = ("-", "-.", ":")
_THRESHOLDS = np.arange(255, -1, -1)


def draw_curves(name: str, summary: Summary) -> bytes:
    """Draw precision over recall, and F and E over the threshold, as PNG."""
    figure = Figure(figsize=(10, 4.4), dpi=DPI, layout="constrained")
    _title(figure, f"{name}: {summary.images} images")
    left, right = figure.subplots(1, 2)
    if summary.precision is not None and summary.recall is not None:
        left.plot(summary.recall, summary.precision)
    for curve, called in ((summary.f_curve, "F, beta² = 0.3"), (summary.e_curve, "E")):
        if curve is not None:
            right.plot(_THRESHOLDS, curve, label=f"{called}: max {max(curve):.3f}")
    right.legend(loc="lower center")
    _frame(left, (0, 1), "recall", "precision")
    _frame(right, (0, 255), "threshold, of 255", "F and E")
    for panel in (left, right):
        panel.set_ylim(0, 1.02)
    return _png(figure)


def draw_risk_coverage(name: str, evaluation: Evaluation) -> bytes:
    """Draw the mean error of the kept images over their share as PNG: one panel per error, one line per score."""
    by_score = evaluation.risk_coverage
    errors = list(next(iter(by_score.values())))
    figure = Figure(figsize=(4.8 * len(errors), 5.2), dpi=DPI, layout="constrained")
    _title(figure, f"{name}: error of the kept images when the worst by a score are dropped")
    panels = np.atleast_1d(figure.subplots(1, len(errors)))
    for panel, error in zip(panels, errors, strict=True):
        for place, (score, by_error) in enumerate(by_score.items()):
            # Ten colours come again in another stroke: passes add any number of scores.
            _risk_line(panel, by_error[error].risks, score, linestyle=_STROKES[place // 10 % len(_STROKES)])
        any_score = next(iter(by_score.values()))[error]  # random and oracle are the same for all scores
        panel.axhline(any_score.random_aurc, color="black", linestyle=":", label="random")
        _risk_line(panel, any_score.oracle_risks, "oracle", color="black", linestyle="--")
        _frame(panel, (0, 1), "share of the images kept", f"mean {ERRORS[error]} of these images")
        panel.set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    return _png(figure)


def _title(figure: Figure, text: str) -> None:
    """The names of folders are no formulas, and may hold what no font can draw."""
    figure.suptitle(printable(text), parse_math=False)


def _risk_line(panel: Axes, risks: tuple[float, ...], label: str, **style: str) -> None:
    shares = np.arange(1, len(risks) + 1) / len(risks)
    marker = "o" if len(risks) == 1 else ""
    panel.plot(shares, risks, label=label, linewidth=1.4, marker=marker, **style)  # type: ignore[arg-type]


def _frame(panel: Axes, x_range: tuple[float, float], x_label: str, y_label: str) -> None:
    panel.set_xlim(*x_range)
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    panel.grid(alpha=0.3)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
