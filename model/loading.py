"""From a configuration to the model that it names; light to import, heavy only when real weights are asked for."""

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Enough, SaliencyModel


def load_model(config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None) -> SaliencyModel:
    """Saved weights, or the stand-in where the name begins with `fake`.

    Args:   enough: lets images stop early, see `SODDiffusionPipeline`.

    Raises: OSError, ValueError: there is no such model.
    """
    if config.is_fake:
        from model.fake import FakeModel

        return FakeModel.from_name(config.model, ensemble, enough)
    from model.saliency import load_diffusion_model

    return load_diffusion_model(config, ensemble, enough)
