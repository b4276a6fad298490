"""A deterministic stand-in for the real model: instant, and able to be slow, fail, hang or die on request.

Give its name in place of a model's: `fake`, or with options `fake:sleep_s=0.1,die_at=000000000007`.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from model.checkpoint_facts import CheckpointFacts, settled
from model.config import EnsembleConfig
from model.prediction import Enough, ModelOutputError, Prediction
from model.rounds import rounds, variance_scale
from model.seeds import member_seed

SIDE_PX = 32
"""Processing resolution of the stand-in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """Paints one disc per member at a place determined by seed, key and member; of the image only the size matters.

    Discs scatter for keys that end in an odd digit, so that a variance filter has something to reject.
    """

    ensemble: EnsembleConfig
    sleep_s: float = 0.0
    """Seconds to wait per image."""
    fail_at: str = ""
    """Key at which to raise ModelOutputError, as networks that give NaN do."""
    raise_at: str = ""
    """Key at which to raise RuntimeError."""
    die_at: str = ""
    """Key at which to end the process silently; several keys are joined by +."""
    hang_at: str = ""
    """Key at which to stop responding."""
    broken_if: str = ""
    """A file; where it exists, loading and predicting raise RuntimeError, as on a machine whose GPU is broken."""
    once: str = ""
    """A file created before dying or hanging; while it exists, neither happens again."""
    tally: str = ""
    """A file to which each requested image's key is appended; shows what is computed twice."""
    enough: Enough | None = None
    """See `SODDiffusionPipeline`; cannot be set through the name."""

    @property
    def device_kind(self) -> str:
        """Always `cpu`."""
        return "cpu"

    @classmethod
    def from_name(cls, name: str, ensemble: EnsembleConfig, enough: Enough | None = None) -> "FakeModel":
        """Parse `fake:option=value,…`.

        Raises: ValueError: an option is unknown. RuntimeError: the machine is to be taken for broken.
        """
        kinds = {f.name: f.type for f in fields(cls) if f.name not in ("ensemble", "enough")}
        given = dict(item.partition("=")[::2] for item in name.partition(":")[2].split(",") if item)
        if unknown := sorted(given.keys() - kinds):
            raise ValueError(f"the fake model has no option {unknown[0]!r}; it has {', '.join(kinds)}")
        sleep_s = float(given.pop("sleep_s", 0))
        model = cls(ensemble=settled(ensemble, CheckpointFacts()), enough=enough, sleep_s=sleep_s, **given)
        model._require_sound()
        return model

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """See `SaliencyModel.predict`."""
        self._require_sound()
        return [self._predict_one(image, key) for image, key in zip(images, keys, strict=True)]

    def _require_sound(self) -> None:
        if self.broken_if and Path(self.broken_if).exists():
            raise RuntimeError(f"CUDA error: uncorrectable ECC error encountered (told so by {self.broken_if})")

    def _predict_one(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> Prediction:
        if self.tally:
            with open(self.tally, "a", encoding="ascii") as file:
                file.write(f"{key}\n")
        if self.sleep_s:
            time.sleep(self.sleep_s)
        if key == self.raise_at:
            raise RuntimeError(f"told to raise at {key}")
        if key in (*self.die_at.split("+"), self.hang_at) and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            if key != self.hang_at:
                os._exit(17)
            time.sleep(86400)
        if key == self.fail_at:
            raise ModelOutputError(f"told to fail at {key}")
        members = self._members(key)
        scale, variance = variance_scale(len(members), self.ensemble.members), members.var(0)
        return Prediction(
            saliency=_stretched(members.mean(0), image.shape[:2]),
            variance=np.minimum(_stretched(variance, image.shape[:2]) * np.float32(scale), np.float32(0.25)),
            uncertainty=np.sqrt(variance),
            members=members,
            variance_scale=scale,
        )

    def _members(self, key: str) -> Float[np.ndarray, "e p p"]:
        everyone = range(self.ensemble.members)
        members: list[Float[np.ndarray, "p p"]] = []
        for numbers in rounds(len(everyone)) if self.enough else [everyone]:
            members += [self._disc(key, number) for number in numbers]
            if self.enough and numbers.stop < len(everyone) and self.enough(np.stack(members)):
                break
        return np.stack(members)

    def _disc(self, key: str, member: int) -> Float[np.ndarray, "p p"]:
        draw = np.random.default_rng(member_seed(self.ensemble.seed, key, member))
        scatter = 0.3 if ord(key[-1]) % 2 else 0.01
        row, column = 0.5 + scatter * (draw.random(2) - 0.5)
        places = (np.arange(SIDE_PX) + 0.5) / SIDE_PX
        distances: Float[np.ndarray, "p p"] = np.hypot(places[:, None] - row, places[None, :] - column)
        return (distances < 0.25).astype(np.float32)


def _stretched(values: Float[np.ndarray, "p p"], height_width: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Resize by nearest neighbour, which keeps the values and so needs no clipping."""
    rows, columns = (np.arange(length) * SIDE_PX // length for length in height_width)
    # Columns first, while there are few rows: the stand-in is part of what `sod bench orchestration` measures.
    return values.take(columns, axis=1).take(rows, axis=0)
