"""Run the main job on the embedded sample, add scores, release both, and certify the second release.

Starts a Ray head, submits jobs, and cleans up.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

from jobs.coco_pseudolabel import parse as parse_job_options
from jobs.command_line import DONE, FAILED, run_job
from jobs.commands import COMMANDS
from pipeline.errors import kept
from pipeline.extras import IS_CHECKOUT
from pipeline.options import as_arguments
from pipeline.preconditions import require_model, require_target
from pipeline.replicas.local_ray import LocalRay, local_ray

SAMPLE = PROJECT / "pipeline" / "sample"


def main() -> int:
    """Run the demo: a release, then the score pass `flip`, then a release with its scores, and its certificate.

    Options other than --out go to the main job; those of model and cluster to the pass as well.
    """
    others = f"All other options are those of {COMMANDS['label'].called()}."
    called = COMMANDS["demo"].called()
    parser = argparse.ArgumentParser(prog=called, description=__doc__, epilog=others, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("out") / "demo", help="Folder of the run. [default: out/demo]")
    arguments, job_options = parser.parse_known_args()
    out = arguments.out.resolve()
    options = [
        *("--out", str(out), "--shard-size", "4"),
        *("--images", str(SAMPLE / "images"), "--annotations", str(SAMPLE / "instances_sample.json")),
        *job_options,
    ]
    config = parse_job_options(options)  # exits with 2 before a head is started if they are wrong
    require_model(config.model, config.ensemble)
    require_target(out, "--out")
    print("starting a Ray head on this machine …", flush=True)
    with kept(lambda: "What the run has committed stays"), local_ray(cpus=os.cpu_count() or 1) as head:
        jobs = [["coco_pseudolabel", *options]]
        version = next_version(config.release.version)
        if not config.dry_run:
            same = [*as_arguments(config.model), *as_arguments(config.cluster)]
            jobs.append(["score_run", str(out), "--pass", "flip", *same])
            jobs.append(["coco_pseudolabel", *options, "--version", version, "--passes", "flip"])
        for script, *arguments_of_job in jobs:
            code = _follow_job(head, script, arguments_of_job)
            if code != DONE:
                return code
    if not config.dry_run:
        page = out / "release" / f"{config.release.name}-{version}" / "index.html"
        if config.release.embed_images and (code := certify(page.parent, out / "audit")) != DONE:
            return code
        print(f"\nlook at   {out / 'contact_sheet.png'}\nload from {page.parent}\nopen      {page}")
    return DONE


def certify(release: Path, audit: Path) -> int:
    """Audit a release with the sample's hand-drawn masks in place of raters' answers, and add the certificate to it."""
    for command in (
        ["plan", str(release), "--out", str(audit), "--images", "20", "--raters", "1", "--overlap", "0"],
        ["import", str(audit), str(SAMPLE / "masks"), "--from", "masks", "--rater", "rater-1"],
        ["certify", str(audit)],
    ):
        print(f"\nsod audit {shlex.join(command)}", flush=True)
        code = subprocess.run([sys.executable, PROJECT / "jobs" / "audit_release.py", *command], check=False).returncode
        if code != DONE:
            return code
    return DONE


def next_version(version: str) -> str:
    """The version of the release with the pass: 1.1.0 after 1.0.0."""
    major, *minor = version.split(".")
    return f"{major}.{int(minor[0]) + 1}.0" if len(minor) == 2 and minor[0].isdecimal() else f"{version}.1"


def _follow_job(head: LocalRay, script: str, options: list[str]) -> int:
    """Submit a job as users do: with the checkout, or as a module of the installed wheel."""
    program = ["python", f"jobs/{script}.py"] if IS_CHECKOUT else ["python", "-m", f"jobs.{script}"]
    submission = head.submit([*program, *options], PROJECT if IS_CHECKOUT else None)
    uploaded = "--working-dir . " if IS_CHECKOUT else ""
    print(f"submitted as {submission}: ray job submit {uploaded}-- {shlex.join([*program, *options])}", flush=True)
    head.follow(submission)
    return DONE if head.succeeded(submission) else FAILED


if __name__ == "__main__":
    run_job(main)
