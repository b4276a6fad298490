"""Check data, output folder and checkpoint before a training begins; write nothing."""

from model.folders import require_replaceable, require_writable
from pipeline.preconditions import require_outside
from pipeline.training.config import TrainingConfig
from pipeline.training.pairs import TrainingPair, check_images, find_pairs
from pipeline.training.start import CLAIM, checkpoint_to_resume, fault_of
from pipeline.training.state import checkpoints
from pipeline.training.validation import validation_pairs
from pipeline.training.watch import MODEL_KIND, MODELS

_OUTPUTS = (*MODELS, "metrics.csv", "tensorboard", "validation")


def check_request(config: TrainingConfig) -> tuple[TrainingPair, ...]:
    """Check everything that needs neither weights nor a device.

    Returns: the training pairs.
    Raises:  CollectionError: images or masks are missing or unreadable, or do not belong together.
             ConfigError: the output folder can't be written to, holds files that are not from a training, or lacks the
             checkpoint to resume from.
    """
    _check_output_folder(config)
    checkpoint_to_resume(config)
    pairs = find_pairs(config.data)
    check_images(pairs)
    check_images([pair for _, pair in validation_pairs(config.data)])
    return pairs


def _check_output_folder(config: TrainingConfig) -> None:
    out = config.output_dir
    if config.data.train_release:
        require_outside(str(out), str(config.data.train_release), "--output-dir")
    with fault_of("--output-dir"):
        require_writable(out)
        if not (out / CLAIM).exists():
            found = [name for name in _OUTPUTS if (out / name).exists()] + [path.name for path in checkpoints(out)]
            if found:
                raise ValueError(f"{out} holds {found[0]} but no {CLAIM}, so it is not from a training; give another")
        for name in MODELS:
            require_replaceable(out / name, MODEL_KIND)
