"""The release's README.md: front matter that the Hugging Face loader reads, and what a reader needs first."""

from collections.abc import Mapping

from pipeline.config import RunConfig

_CARD = """---
pretty_name: "{name}"
task_categories:
- image-segmentation
tags:
- salient-object-detection
- webdataset
annotations_creators:
- machine-generated
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test/*.tar
---
# {name} {version}

Masks of salient objects, made by an ensemble of {ensemble_size} SOD-diffusion runs per image and kept where the runs
agree. **No human has checked them.** Agreement is not correctness: an ensemble can agree on the wrong object.

| images | |
|---|---|
| accepted | {accepted} |
| rejected | {rejected} |
| failed | {failed} |

Accepted are images whose `ensemble_variance` (variance over the ensemble members, averaged over the pixels) is at
most {max_variance:g} (divided by the mean saliency: {max_variance_per_area:g}) and whose mask covers {min_area:g} to
{max_area:g} of the image. `manifest.parquet` has a row for every input image, with all scores and the reason for each
that is not here.

A sample in `data/test/*.tar`: `jpg` (original bytes), `mask.png` (0 or 255), `saliency.png` (v / 255),
`variance.png` ((v / 510)²), `json`. `annotations/test.json` has the same masks in COCO format.
Each image keeps its own licence: see `license_name` and `license_url` in the manifest.
"""


def card(config: RunConfig, counts: Mapping[str, int]) -> bytes:
    """The card of a release; `counts` is decision → images."""
    text = _CARD.format(
        name=config.release.name,
        version=config.release.version,
        ensemble_size=config.ensemble.ensemble_size,
        accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0),
        failed=counts.get("failed", 0),
        max_variance=config.policy.max_variance,
        max_variance_per_area=config.policy.max_variance_per_area,
        min_area=config.policy.min_area,
        max_area=config.policy.max_area,
    )
    return text.encode()
