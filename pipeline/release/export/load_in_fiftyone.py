"""Makes a FiftyOne dataset of the folder that this script lies in. Then look at it: `fiftyone app launch`.

Photos are the samples; masks and maps are fields at full size, and so are all scores. The split is a tag.
"""

import json
from pathlib import Path
from typing import Any

import fiftyone as fo


def read_samples(folder: Path) -> tuple[str, list[Any]]:
    """Read `samples.json`: the dataset's name, and a sample for each image."""
    document = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    return document["name"], [_sample(folder, entry) for entry in document["samples"]]


def _sample(folder: Path, entry: dict[str, Any]) -> Any:
    paths = {name: str((folder / place).resolve()) for name, place in entry["pictures"].items()}
    sample = fo.Sample(filepath=paths.pop("image"), tags=[entry["split"]])
    for name, path in paths.items():
        is_mask = name.startswith("mask") or name == "trimap"
        sample[name] = fo.Segmentation(mask_path=path) if is_mask else fo.Heatmap(map_path=path, range=[0, 255])
    for name, value in entry["fields"].items():
        if value is not None:
            sample[f"{name}_" if hasattr(sample, name) else name] = value  # a score may be called `tags`
    return sample


if __name__ == "__main__":
    name, samples = read_samples(Path(__file__).parent)
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_samples(samples)
    dataset.default_mask_targets = {0: "background", 128: "unsure", 255: "salient object"}
    dataset.save()
    print(f"{len(samples)} samples are in the dataset {name}")
