"""The cut-out: the photo's own colours under the saliency map as alpha, and nothing of what was cut away."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.maps import quantise_saliency
from pipeline.photos.cutout import draw_cutout

SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))


@given(
    SIZES.flatmap(
        lambda size: st.tuples(
            arrays(np.uint8, (*size, 3)), arrays(np.float32, size, elements=st.floats(0, 1, width=32))
        )
    )
)
def test_colours_are_the_photos_wherever_anything_is_left_and_alpha_is_the_map(drawn):
    photo, saliency = drawn
    with Image.open(io.BytesIO(draw_cutout(photo, saliency))) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
        pixels = np.asarray(image)
    assert np.array_equal(pixels[:, :, 3], quantise_saliency(saliency))
    left = pixels[:, :, 3] > 0
    assert np.array_equal(pixels[left][:, :3], photo[left])
    assert not pixels[~left].any()
