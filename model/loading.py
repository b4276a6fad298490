"""Load the model that a configuration names; light to import, heavy only for real weights."""

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Enough, SaliencyModel


def load_model(config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None) -> SaliencyModel:
    """Load saved weights, or the stand-in if the name begins with `fake`.

    Args:   enough: lets images stop early, see `SODDiffusionPipeline`.

    Raises: OSError, ValueError: no such model exists.
    """
    if config.is_fake:
        from model.fake import FakeModel

        return FakeModel.from_name(config.model, ensemble, enough)
    from model.saliency import load_diffusion_model

    return load_diffusion_model(config, ensemble, enough)
