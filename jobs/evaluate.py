"""Measure saliency maps against masks with the metrics of the field; see EvaluationConfig for all options."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.ahead import command, next_steps
from jobs.command_line import DONE, FAILED, SOME_FAILED, answer, log_reference_preset, parse_config, report, run_job
from jobs.commands import COMMANDS
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.task import Task
from pipeline.evaluation.tasks import find_tasks
from pipeline.progress.stages import say, stage


def main() -> int:
    """Evaluate, then print the result on stdout as one JSON line."""
    config = parse(sys.argv[1:])
    say("evaluating" + (f"; results go to {config.out}" if config.out else ""))
    if config.check_scorer:
        return check_scorer()
    if config.compare:
        return compare(config)
    if config.predicts_release:
        config.check()
        check_surroundings((), config)
        with stage("loading the libraries"):
            from pipeline.evaluation.models.job import with_maps

        config = with_maps(config)
    tasks = find_tasks(config)
    check_surroundings(tasks, config)
    if config.reference:
        log_reference_preset(config.ensemble, config.model)
    with stage("loading the libraries"):
        from pipeline.evaluation.job import brief, evaluate, has_failures
        from pipeline.evaluation.published_tables import published_part
        from pipeline.evaluation.tables import metrics_table

    documents = evaluate(tasks, config)
    print("\n".join(metrics_table(documents)), file=sys.stderr)
    if config.published:
        print(f"\n{published_part(documents)}", file=sys.stderr)
    next_steps(*_after(config))
    answer(brief(config.out, documents))
    return SOME_FAILED if any(map(has_failures, documents)) else DONE


def _after(config: EvaluationConfig) -> list[str]:
    """What people can do with the results."""
    steps = [f"read {config.out}/evaluation.md"]
    if config.release:
        steps.append(f"rank with: {command('leaderboard add', config.out)} --board BOARD --name NAME")
    return steps


def check_scorer() -> int:
    """Measure the frozen set; print the figures that are not what they were, and the scorer as one JSON line."""
    require_packages()
    from pipeline.evaluation.frozen import TOLERANCE, deviations
    from pipeline.evaluation.scorer import scorer

    off = deviations()
    for found in off:
        report(f"{found.pair}: {found.figure} is {found.found:.9f}, it was {found.expected:.9f}")
    changed = f"{len(off)} figures are off by more than {TOLERANCE}: figures before and after can't be compared"
    report(changed if off else "the scorer gives the figures that it has always given")
    answer({"off": len(off), "scorer": scorer(normalize=True)})
    return FAILED if off else DONE


def compare(config: EvaluationConfig) -> int:
    """Compare two evaluations; print a table on stderr and one JSON line on stdout."""
    config.check_comparison()
    require_packages()
    from pipeline.evaluation.comparison import compare_evaluations
    from pipeline.evaluation.interval_tables import comparison

    found = compare_evaluations(config.compare, config.out)
    report(comparison(found))
    answer(found)
    return DONE


def parse(arguments: Sequence[str]) -> EvaluationConfig:
    """Options of the preset and of the command line; exits with 2 if they are wrong."""
    return parse_config(EvaluationConfig, arguments, COMMANDS["evaluate"])


def require_packages() -> None:
    """Raises ConfigError if a package that measures or draws is missing."""
    from pipeline.extras import require_extra

    require_extra("eval", "py_sod_metrics", "cv2", "matplotlib")


def check_surroundings(tasks: Sequence[Task], config: EvaluationConfig) -> None:
    """Check what the options alone don't show: packages, the model's weights, the folder for results.

    Raises: ConfigError: a package or the weights are missing, or nothing can be written to --out.
            UsageError: --out is a URL that can't be used.
    """
    from pipeline.devices import require_device
    from pipeline.preconditions import require_model, require_outside, require_place

    require_packages()
    if config.other.onnx:
        require_device(config.model.device)
    elif not (config.predictions or config.other.function):
        require_model(config.model, config.ensemble, "inline" if config.release else config.cluster.engine)
    for place, option in ((config.out, "--out"), (config.fit_combination, "--fit-combination")):
        if config.release and place:
            require_outside(place, config.release, option)
    require_place(config.out, "--out")
    if config.fit_combination:
        _check_fit(config)
    if not (config.predictions or config.release):
        from pipeline.evaluation.model_run import check_model

        check_model(tasks[0].pairs, config)


def _check_fit(config: EvaluationConfig) -> None:
    """Check that a combination can be fitted and written.

    Raises: ConfigError: scikit-learn is missing, the file exists or can't be written, or there is no such score.
    """
    from pipeline.errors import ConfigError
    from pipeline.evaluation.pass_scores import require_scores
    from pipeline.extras import require_extra
    from pipeline.files import storage, urls
    from pipeline.preconditions import require_target

    require_extra("calibration", "sklearn")
    target = urls.absolute(config.fit_combination)
    if storage.exists(target):
        raise ConfigError(f"--fit-combination {config.fit_combination}: this file exists; a fit never replaces one")
    if urls.is_local(target):
        require_target(Path(target).parent, "--fit-combination")
    require_scores(config.out, config.combine)


if __name__ == "__main__":
    run_job(main)
