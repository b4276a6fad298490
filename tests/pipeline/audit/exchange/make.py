"""Masks, tasks and files for the tests of the exchange with labelling tools."""

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from pipeline.audit.exchange.given import Images
from pipeline.audit.exchange.task import Task, Titled
from pipeline.passes.mask_text import pixels_of, rle_of
from pipeline.release.image_names import ImageNames

GOLDEN = Path(__file__).with_name("golden")
TITLED = Titled(title="birds & <bees> 1.0.0", plan="ab" * 32)
GOLDEN_SIZES = {"000000000001": (9, 13), "000000000002": (6, 5), "000000000003": (16, 16)}

masks = hypothesis_numpy.arrays(
    np.bool_, hypothesis_numpy.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
)
some_masks = st.lists(masks, min_size=1, max_size=4)


def golden_mask(number):
    """The mask of which the golden files were made."""
    height, width = GOLDEN_SIZES[f"{number:012d}"]
    y, x = np.mgrid[:height, :width]
    return (x * (number + 2) + 3 * y * y) % 7 < 3


def make_images(sizes):
    """Images of these sizes, without another name than their key."""
    return Images(plan=TITLED.plan, sizes=sizes, names=ImageNames({key: key for key in sizes}))


def make_tasks(masks):
    """One task for each mask, with the keys 1, 2, …; and the images that answers may be about."""
    tasks = [
        Task(
            key=f"{number:012d}",
            image_id=number,
            file_name=f"{number:012d}.jpg",
            height=mask.shape[0],
            width=mask.shape[1],
            mask=rle_of(mask),
        )
        for number, mask in enumerate(masks, start=1)
    ]
    return tasks, make_images({task.key: (task.height, task.width) for task in tasks})


def pixels(rle, shape):
    """The pixels of a mask; none where there is no mask, as tools have none without a pixel."""
    return np.zeros(shape, np.bool_) if rle is None else pixels_of(rle)


def answered_tasks(content, verdicts=(), brushes=()):
    """What Label Studio exports after a rater has submitted what it has predicted.

    Args: verdicts: key → choice. brushes: key → bytes of another mask.
    """
    entries = json.loads(content)
    for entry in entries:
        key = entry["data"]["key"]
        result = [region for prediction in entry["predictions"] for region in prediction["result"]]
        for region in result:
            region["value"]["rle"] = dict(brushes).get(key, region["value"]["rle"])
        if key in dict(verdicts):
            result.append({"type": "choices", "from_name": "verdict", "value": {"choices": [dict(verdicts)[key]]}})
        entry["annotations"] = [{"result": result, "lead_time": 7.5, "updated_at": "2026-11-26T12:00:00.5Z"}]
    return json.dumps(entries).encode()
