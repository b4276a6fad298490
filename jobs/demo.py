"""Run the main job on the embedded sample: start a Ray head, submit the job, follow it, and clean up."""

import argparse
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

from jobs.coco_pseudolabel import parse as parse_job_options
from jobs.command_line import DONE, FAILED, run_job
from jobs.local_ray import LocalRay, local_ray
from pipeline.preconditions import require_target

SAMPLE = PROJECT / "pipeline" / "sample"


def main() -> int:
    """Run the demo. Options other than --out go to the job."""
    others = "All other options go to jobs/coco_pseudolabel.py."
    parser = argparse.ArgumentParser(description=__doc__, epilog=others)
    parser.add_argument("--out", type=Path, default=PROJECT / "out" / "demo", help="folder of the run [out/demo]")
    arguments, job_options = parser.parse_known_args()
    out = arguments.out.resolve()
    options = [
        *("--out", str(out), "--shard-size", "4"),
        *("--images", str(SAMPLE / "images"), "--annotations", str(SAMPLE / "instances_sample.json")),
        *job_options,
    ]
    parse_job_options(options)  # exits with 2 before a head is started if they are wrong
    require_target(out, "--out")
    print("starting a Ray head on this machine …", flush=True)
    with local_ray(cpus=os.cpu_count() or 1) as head:
        code = _follow_job(head, ["python", "jobs/coco_pseudolabel.py", *options])
    if code == DONE:
        (page,) = (out / "release").glob("*/index.html")
        print(f"\nlook at   {out / 'contact_sheet.png'}\nload from {page.parent}\nopen      {page}")
    return code


def _follow_job(head: LocalRay, entrypoint: list[str]) -> int:
    submission = head.submit(entrypoint, PROJECT)
    print(f"submitted as {submission}: ray job submit --working-dir . -- {' '.join(entrypoint)}", flush=True)
    head.follow(submission)
    return DONE if head.succeeded(submission) else FAILED


if __name__ == "__main__":
    run_job(main)
