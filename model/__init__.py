"""Tensors and one batch of images; knows nothing of shards, files of a run, or Ray. `load` is the Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from model.api.segmenter import Segmenter


def load(model: "str | os.PathLike[str]" = "nano", **options: Any) -> "Segmenter":
    """Load a model, ready to segment photos.

        import model

        sod = model.load("nano")
        result = sod("photo.jpg")  # or a Pillow image, an array, a list of them
        result.save("mask.png")

    Args:
        model: `nano` for the embedded weights, a folder saved by `save_pretrained`, or a repository of the Hugging Face
            Hub as `organisation/name`, of which only safetensors and JSON files are fetched.
        options: by name. `revision` of the repository: a branch, tag or commit. `device`, `dtype` (torch's own, too)
            and more of `model.config.ModelConfig`. `threads` holds during a prediction, and not for `sod.pipeline(…)`;
            by default, it is torch's own number, but no more than there are cores, for a person waits for one photo; a
            run's replicas take one core each. `ensemble_size`, `denoise_steps`, `seed` and more of
            `model.config.EnsembleConfig`.
    Raises: TypeError: there is no such option; the message has the closest one. Or `revision` is no string.
            ValueError: an option's value is wrong, the model can't be loaded, or the device can't be used.
    """
    # torch takes seconds to import, and a job that only asks for `--help` imports this package too.
    from model.api.loading import load

    return load(model, options)
