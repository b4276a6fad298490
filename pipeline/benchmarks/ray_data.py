"""The work of a run as a user of Ray Data would write it; only used to compare rates.

Nothing is planned, committed or resumed. Ray is imported here and not in `pipeline/replicas/on_ray/`, because this
is not part of the pipeline.
"""

import logging

import ray.data

from pipeline.benchmarks.segment import Segment


def write_tars(images: str, tars: str, *, shards: int, ensemble_size: int, batch_images: int) -> None:
    """Turn a folder of images into tars of their maps, about as many as there would be shards, with one replica.

    Runs on the cluster that this process is connected to. Reading and writing are separate tasks, which Ray Data runs
    beside the replica if there are CPU cores left.
    """
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    (
        ray.data.read_binary_files(images, include_paths=True, override_num_blocks=shards)
        .map_batches(
            Segment,
            fn_constructor_args=(ensemble_size,),
            batch_size=batch_images,
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
        )
        .write_webdataset(tars, encoder=None)
    )
