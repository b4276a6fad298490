"""Leaderboards: `add` results of `evaluate.py --release`, and `render` them as Markdown, LaTeX, CSV and a page."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, answer, parse_config, run_commands, run_job
from jobs.commands import COMMANDS
from pipeline.preconditions import require_target, require_there


@dataclass(frozen=True, slots=True, kw_only=True)
class AddConfig:
    """Add the result of an evaluation on a release. The first result begins the board, and decides what fits.

    Results of another release, scorer, number of images or rule for missing
    predictions are refused. Entries never change.
    """

    result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULT")]
    """The --out of an evaluation on a release, or its evaluation.json."""
    board: Path
    """Folder of the leaderboard; made if necessary."""
    name: str
    """Name of the model."""
    release: str = ""
    """Folder or URL of the release, if it has moved since the evaluation."""
    link: str = ""
    """Address of its paper or code."""
    trained_on: str = ""
    """What it was trained on, such as "DUTS-TR". Default: what the evaluation says."""
    collection: str = ""
    """With the first result: what the images are from, such as "COCO". Models trained on it are marked. It holds for
    the results that follow, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """Write leaderboard.md, leaderboard.tex, leaderboard.csv and index.html into the board's folder."""

    board: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BOARD")]
    """Folder of the leaderboard."""
    by: str = "s_measure"
    """Metric to sort by: mae, s_measure, weighted_f, max_f, mean_of_max_f, mean_f, adaptive_f, max_e, mean_of_max_e,
    mean_e, adaptive_e or iou."""
    release: str = ""
    """Folder or URL of the release, whose newest certificate is shown. Default: the newest one that an entry was
    evaluated with."""


def main() -> int:
    """Run the command that the first argument names."""
    return run_commands("leaderboard", {"add": add, "render": render})


def add(arguments: Sequence[str]) -> int:
    """Add a result; print one JSON line on stdout."""
    config = parse_config(AddConfig, arguments, COMMANDS["leaderboard add"])
    with begun(f"adding {config.result} to {config.board}"):
        require_there(config.result, "RESULT")
        require_target(config.board, "--board")
        from pipeline.leaderboard.add import add_result

    added = add_result(
        config.result,
        config.board,
        name=config.name,
        release=config.release,
        link=config.link,
        trained_on=config.trained_on,
        collection=config.collection,
    )
    next_steps(f"render with: {command('leaderboard render', config.board)}")
    answer(asdict(added))
    return DONE


def render(arguments: Sequence[str]) -> int:
    """Render a board; print one JSON line on stdout."""
    config = parse_config(RenderConfig, arguments, COMMANDS["leaderboard render"])
    with begun(f"rendering {config.board}"):
        require_there(config.board, "BOARD")
        from pipeline.leaderboard.render import render_board

    rendered = render_board(config.board, config.by, config.release)
    next_steps(f"open {rendered.page}")
    answer(asdict(rendered))
    return DONE


if __name__ == "__main__":
    run_job(main)
