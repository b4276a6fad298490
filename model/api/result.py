"""What the API gives for a photo: its mask and maps, numbers about them, and pictures to look at."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from model.api.drawing import side_by_side, with_outline
from model.api.saving import path_of, save
from model.maps import encode_png, quantise_saliency, quantise_variance
from model.prediction import Prediction, ensemble_variance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SaliencyResult:
    """The salient object of one photo of H x W pixels, upright as people see it.

    In a notebook it shows `plot()`.
    """

    name: str
    """Of the photo's file, without the suffix; `image` if it had none. With the seed, it decides the members' noise."""
    image: UInt8[np.ndarray, "h w 3"]
    """The photo as the model saw it, 0 to 255."""
    prediction: Prediction
    """Everything the model gave, the members included."""

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Where the salient object is: the saliency is at least 0.5."""
        return self.saliency >= 0.5

    @property
    def saliency(self) -> Float[np.ndarray, "h w"]:
        """Mean of the members, float32 in [0, 1]."""
        return self.prediction.saliency

    @property
    def variance(self) -> Float[np.ndarray, "h w"]:
        """How far the members disagree at each pixel: their population variance, float32 in [0, 0.25]."""
        return self.prediction.variance

    @property
    def uncertainty(self) -> Float[np.ndarray, "h w"]:
        """The members' disagreement, in units of saliency, in [0, 0.5]: their standard deviation, or with the reduction
        `median` their median absolute deviation."""
        from model.outputs import resized_uncertainty

        return resized_uncertainty(self.prediction)

    @property
    def ensemble_variance(self) -> float:
        """One number for the photo: the variance averaged over the pixels, in [0, 0.25]; 0 for a single member.

        It is the score by which a run sorts photos out. Members that agree can all be wrong.
        """
        return ensemble_variance(self.prediction.members, self.prediction.variance_scale)

    def plot(self) -> Image.Image:
        """Photo, outline of the mask, saliency and disagreement side by side.

        Disagreement is the members' standard deviation: black where they agree, white at 0.5, the most there can be.
        """
        return side_by_side(
            {
                "photo": Image.fromarray(self.image),
                "mask": Image.fromarray(with_outline(self.image, self.mask)),
                "saliency": Image.fromarray(quantise_saliency(self.saliency)),
                "disagreement": Image.fromarray(quantise_variance(self.variance)),
            }
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Save the mask as `NAME.png`, 255 where the object is; or mask and maps into a folder.

        Args:    path: a file that ends in .png, for the mask; or a folder, made if it is not there, for NAME.mask.png,
                     NAME.saliency.png and NAME.variance.png (`model/maps.py` has their scales).
                 overwrite: replace files that are there.
        Returns: the files that were written. Each is there as a whole or not at all.
        Raises:  FileExistsError: one is there already; nothing is written. ValueError: the path has another suffix, or
                     the photo's name can't be that of a file.
                 OSError: it can't be written: a folder has that name, or what should be a folder is a file.
        """
        contents = self._contents(path_of(path))
        save(contents, overwrite=overwrite)
        return list(contents)

    def _contents(self, path: Path) -> dict[Path, bytes]:
        mask = encode_png(self.mask.astype(np.uint8) * 255)
        if path.suffix.lower() == ".png":
            return {path: mask}
        if path.suffix and not path.is_dir():
            raise ValueError(
                f"{path} ends in {path.suffix}; masks are saved as .png. For a folder, make the folder first, "
                "or choose a name without a dot"
            )
        if not self.name or Path(self.name).name != self.name or "\0" in self.name:
            raise ValueError(f"{self.name!r} can't be the name of a file; give a path that ends in .png, for the mask")
        maps = {
            "mask": mask,
            "saliency": encode_png(quantise_saliency(self.saliency)),
            "variance": encode_png(quantise_variance(self.variance)),
        }
        return {path / f"{self.name}.{kind}.png": content for kind, content in maps.items()}

    def __repr__(self) -> str:
        height, width = self.saliency.shape
        members = len(self.prediction.members)
        spread = f"variance {self.ensemble_variance:.4f} over {members} members" if members > 1 else "one member"
        return f"SaliencyResult({self.name!r}, {width} x {height} px, mask {self.mask.mean():.1%}, {spread})"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.plot().save(buffer, format="PNG")
        return buffer.getvalue()
