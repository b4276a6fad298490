"""Run a whole evaluation: pairs of every dataset → figures → files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import PipelineError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluation, evaluate_pairs, measure_pairs
from pipeline.evaluation.model_run import evaluate_model, made_with
from pipeline.evaluation.models.job import made_with_of
from pipeline.evaluation.on_release.rejected_report import rejected_section
from pipeline.evaluation.on_release.report import UNUSABLE, release_section
from pipeline.evaluation.outcomes import How
from pipeline.evaluation.published_figures import Published, read_published
from pipeline.evaluation.published_tables import published_part
from pipeline.evaluation.report import Subject, document, publish_evaluation
from pipeline.evaluation.tables import metrics_table
from pipeline.evaluation.task import OnRelease, Task
from pipeline.files import storage, urls
from pipeline.progress.stages import stage
from pipeline.shown import shown

log = logging.getLogger(__name__)


def evaluate(tasks: Sequence[Task], config: EvaluationConfig) -> list[dict[str, Any]]:
    """Evaluate the tasks that `find_tasks` found, one after the other, and publish the results.

    Returns: the content of each `evaluation.json`.
    Raises:  PipelineError: it failed. Predictions are kept; run the same command again to resume.
    """
    published = read_published() if config.published else ()
    documents = [_evaluate_task(task, config, published) for task in tasks]
    if len(documents) > 1:
        table = "\n".join(metrics_table(documents)) + "\n"
        table += f"\n{published_part(documents)}" if published else ""
        storage.publish(storage.join(config.out, "evaluation.md"), table.encode())
    return documents


def brief(out: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise for stdout: counts and figures of each dataset, without curves."""
    shown = ("name", "counts", "metrics", "published")
    return {
        "out": out,
        "results": [{name: document[name] for name in shown if document[name] is not None} for document in documents],
    }


def has_failures(document: Mapping[str, Any]) -> bool:
    """Do some images lack a usable prediction? Rejected ones without any do not count: nobody has to predict them."""
    rejected = (document["release"] or {}).get("rejected") or {"unusable": []}
    return bool(document["failures"] or document["counts"]["worst"] or rejected["unusable"])


def _evaluate_task(task: Task, config: EvaluationConfig, published: tuple[Published, ...]) -> dict[str, Any]:
    log.info("%s: %d images", task.name, len(task.pairs))
    out = storage.join(config.out, task.folder) if task.folder else config.out
    how = How(normalize=config.normalize, max_pixels=config.max_image_pixels)
    section: Mapping[str, Any] = {}
    made: Mapping[str, str] = {}
    if task.on_release:
        evaluation, section = _on_release(task, task.on_release, how, config)
        made = made_with_of(task.maps)
    elif config.predictions:
        evaluation = evaluate_pairs(task.pairs, how, config.cluster)
    else:
        evaluation, made = evaluate_model(task.pairs, out, how, config), made_with(out)
    subject = Subject(
        name=f"{made['name']} on {task.name.partition(' on ')[2]}" if task.on_release and made else task.name,
        maps=str(task.maps),
        masks=shown(str(task.masks)),
        normalize=config.normalize,
        made_with=made,
        release=section,
        published=published,
    )
    fitted = _fit(evaluation, config) if config.fit_combination else None
    with stage("writing tables and curves"):
        publish_evaluation(out, subject, evaluation, fitted)
    values = document(subject, evaluation, fitted)
    if fitted:
        from pipeline.evaluation.policy_file import policy_file

        content = policy_file(fitted, subject.name, values["truths_sha256"])
        if not storage.create(urls.absolute(config.fit_combination), content):
            raise PipelineError(f"--fit-combination {config.fit_combination}: another session has written this file")
        log.info("the combination of %s is in %s", " and ".join(config.combine), config.fit_combination)
    return values


def _on_release(
    task: Task, on_release: OnRelease, how: How, config: EvaluationConfig
) -> tuple[Evaluation, dict[str, Any]]:
    how = replace(how, plain_grey=True, counts_parts=True, unusable=UNUSABLE[config.missing])
    evaluation = evaluate_pairs(task.pairs, how, config.cluster)
    section = release_section(task, on_release, evaluation, config.missing)
    if rejected := on_release.rejected:
        how = replace(how, counts_parts=False, unusable="fails")
        outcomes = measure_pairs(rejected.pairs, how, config.cluster, has_all=False)
        section["rejected"] = rejected_section(rejected, evaluation.images, outcomes)
    return evaluation, section


def _fit(evaluation: Evaluation, config: EvaluationConfig) -> dict[str, Any]:
    from pipeline.evaluation.fit import fit_combination  # scikit-learn is optional
    from pipeline.evaluation.policy_file import fit_figures

    images = evaluation.images
    ious = [image.measures.iou or 0.0 for image in images]
    fit = fit_combination([image.scores for image in images], ious, config.combine, config.method, config.bad_below)
    figures = fit_figures(fit, evaluation)
    for name in figures["against_sense"]:
        log.warning("the combination counts %s the wrong way round: try it without, or with more images", name)
    return figures
