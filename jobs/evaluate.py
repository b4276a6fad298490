"""Measure saliency maps against masks with the metrics of the field; see EvaluationConfig for all options."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, SOME_FAILED, log_reference_preset, parse_config, run_job
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.tasks import Task, find_tasks


def main() -> int:
    """Evaluate, then print the result on stdout as one JSON line."""
    config = parse(sys.argv[1:])
    tasks = find_tasks(config)
    check_surroundings(tasks, config)
    if config.reference:
        log_reference_preset(config.ensemble)
    from pipeline.evaluation.job import brief, evaluate
    from pipeline.evaluation.tables import metrics_table

    documents = evaluate(tasks, config)
    print("\n".join(metrics_table(documents)), file=sys.stderr)
    print(json.dumps(brief(config.out, documents), sort_keys=True))
    return SOME_FAILED if any(document["failures"] for document in documents) else DONE


def parse(arguments: Sequence[str]) -> EvaluationConfig:
    """Options of the preset and of the command line; exits with 2 if they are wrong."""
    return parse_config(EvaluationConfig, arguments, {})


def check_surroundings(tasks: Sequence[Task], config: EvaluationConfig) -> None:
    """Check what the options alone don't show: packages, the model's weights, the folder for results.

    Raises: ConfigError: a package or the weights are missing, or nothing can be written to --out.
            UsageError: --out is a URL that can't be used.
    """
    from pipeline.files import urls
    from pipeline.preconditions import require_extra, require_target

    require_extra("eval", "py_sod_metrics", "cv2", "matplotlib")
    if urls.is_local(config.out):
        require_target(Path(urls.absolute(config.out)), "--out")
    else:
        urls.resolve(config.out)  # refuses what nothing could be written to in the end
    if config.fit_combination:
        _check_fit(config)
    if not config.predictions:
        from pipeline.evaluation.model_run import check_model

        check_model(tasks[0].pairs, config)


def _check_fit(config: EvaluationConfig) -> None:
    """Check that a combination can be fitted and written.

    Raises: ConfigError: scikit-learn is missing, the file exists or can't be written, or there is no such score.
    """
    from pipeline.errors import ConfigError
    from pipeline.evaluation.pass_scores import require_scores
    from pipeline.files import storage, urls
    from pipeline.preconditions import require_extra, require_target

    require_extra("calibration", "sklearn")
    target = urls.absolute(config.fit_combination)
    if storage.exists(target):
        raise ConfigError(f"--fit-combination {config.fit_combination}: this file exists; a fit never replaces one")
    if urls.is_local(target):
        require_target(Path(target).parent, "--fit-combination")
    require_scores(config.out, config.combine)


if __name__ == "__main__":
    run_job(main)
