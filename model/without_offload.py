"""Refuses what diffusers offers for pipelines that don't fit on a GPU."""

from typing import Any, NoReturn


class WithoutOffload:
    """A pipeline that stays on its device whole: a prediction swaps layers whose weights are merged there
    (`inference_form.py`)."""

    model_cpu_offload_seq = None

    def enable_model_cpu_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see the class."""
        _refuse_offload()

    def enable_sequential_cpu_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see the class."""
        _refuse_offload()

    def enable_group_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see the class."""
        _refuse_offload()


def _refuse_offload() -> NoReturn:
    raise NotImplementedError(
        "SODDiffusionPipeline can't be offloaded: its predictions merge weights on the networks' device. To save "
        "memory, use bfloat16 or a smaller EnsembleConfig.batch_size"
    )
