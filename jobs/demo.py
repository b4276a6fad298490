"""The main job on the embedded sample: starts a Ray head of its own, submits the job, follows it, leaves nothing."""

import argparse
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

from jobs.command_line import DONE, FAILED, run_job
from jobs.local_ray import LocalRay, local_ray

SAMPLE = PROJECT / "pipeline" / "sample"


def main() -> int:
    """Run the demo; 0 when the job succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PROJECT / "out" / "demo", help="folder of the run [out/demo]")
    arguments, job_options = parser.parse_known_args()
    out = arguments.out.resolve()
    print("starting a Ray head on this machine …", flush=True)
    with local_ray(cpus=os.cpu_count() or 1) as head:
        code = _follow_job(head, out, job_options)
    if code == DONE:
        (page,) = (out / "release").glob("*/index.html")
        print(f"\nlook at   {out / 'contact_sheet.png'}\nload from {page.parent}\nopen      {page}")
    return code


def _follow_job(head: LocalRay, out: Path, job_options: list[str]) -> int:
    entrypoint = [
        *("python", "jobs/coco_pseudolabel.py", "--out", str(out), "--shard-size", "4"),
        *("--images", str(SAMPLE / "images"), "--annotations", str(SAMPLE / "instances_sample.json")),
        *job_options,
    ]
    submission = head.submit(entrypoint, PROJECT)
    print(f"submitted as {submission}: ray job submit --working-dir . -- {' '.join(entrypoint)}", flush=True)
    head.follow(submission)
    return DONE if head.succeeded(submission) else FAILED


if __name__ == "__main__":
    run_job(main)
