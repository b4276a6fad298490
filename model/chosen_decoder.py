"""The pipeline's choice of a decoder, as `decoder_choice.py` makes it, with what is in memory."""

import logging
from functools import partial
from typing import Any

from model.config import WantedDecoder
from model.decoder_choice import UsedDecoder, choose
from model.vae_digest import digest_of_network

_log = logging.getLogger(__name__)


class ChoosesDecoder:
    """A pipeline that decodes with its VAE or with its mask decoder."""

    vae: Any
    mask_decoder: Any
    default_processing_res: int
    decoder: UsedDecoder
    """What decodes now."""
    _said = ""
    """The reason that was logged last."""

    def decode_with(self, wanted: WantedDecoder, processing_res: int | None = None) -> None:
        """Choose what turns latents into masks, see `ModelConfig.decoder`; log a warning where the choice may surprise.

        Args:   processing_res: as in `EnsembleConfig`, of the images to come.
        Raises: ValueError: a mask decoder is wanted, and there is none, or that of another VAE.
        """
        self._choose_decoder(wanted, processing_res)
        self._say_why()

    def _choose_decoder(self, wanted: WantedDecoder, processing_res: int | None = None) -> None:
        """Choose without a word: nobody may have asked yet."""
        side_px = self.default_processing_res if processing_res is None else processing_res
        own = self.mask_decoder
        vae = partial(digest_of_network, self.vae)
        choice = choose(wanted, own and own.stated, vae, side_px=side_px, place="the pipeline")
        self.decoder, self._wanted_decoder, self._decoded_px = choice.used, wanted, side_px
        self._unsaid = "" if choice.why == self._said else choice.why

    def _decode_at(self, processing_res: int | None) -> None:
        """Choose once more as before, now that images of that size come."""
        side_px = self.default_processing_res if processing_res is None else processing_res
        if side_px != self._decoded_px:
            self._choose_decoder(self._wanted_decoder, side_px)
        self._say_why()

    def _say_why(self) -> None:
        """Log the reason of the choice, once."""
        if self._unsaid:
            _log.warning("%s", self._unsaid)
            self._said, self._unsaid = self._unsaid, ""
