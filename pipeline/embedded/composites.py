"""Salient-object composites: cut-outs pasted over backgrounds so that nothing but the object itself gives it away.

Makes one composite as a pure function of (material, seed, index, px). The pictures come from
`pipeline.embedded.sources`; `pipeline.embedded.composite_store` puts many composites on disk.

Every effect is one small function. The order matters: objects are pasted first; light, blur, noise, gamma and JPEG then
go over the whole, so that seams give nothing away.
"""

import numpy as np

from pipeline.embedded.backgrounds import draw_background
from pipeline.embedded.effects import feather, illuminate, over, photograph
from pipeline.embedded.material import Material, Pixels
from pipeline.embedded.objects import add_clutter, cast_shadow, draw_layout, dress_object

RECIPE_VERSION = 1  # raise it when the same arguments give other bytes


def make_composite(material: Material, seed: int, index: int, px: int) -> tuple[Pixels, Pixels]:
    """One training pair: the same bytes for the same arguments (and versions of numpy and Pillow) on every machine.

    Returns: image uint8 [px, px, 3]; mask uint8 [px, px], the soft alpha of all salient objects. Its mean is roughly
        `MIN_AREA` to `MAX_AREA` of 255 (if none of `LAYOUT_ATTEMPTS` layouts reaches that, the last one is kept).
    """
    rng = np.random.default_rng([seed, index])
    scene, is_plain = draw_background(material, rng, px)
    if not is_plain and rng.random() < 0.35:
        scene = add_clutter(scene, material, rng)
    layers = draw_layout(material, rng, px)
    mask = np.zeros((px, px), dtype=np.float32)
    for colours, alpha in layers:
        colours = dress_object(colours, alpha, scene, material, rng)
        if rng.random() < 0.65:
            scene = cast_shadow(scene, alpha, rng)
        alpha = feather(alpha, float(rng.uniform(0.3, 1.0)) * px / 192)
        scene = over(scene, colours, alpha)
        mask = 1 - (1 - mask) * (1 - alpha)
    image = photograph(illuminate(scene, rng), rng)
    return image, np.rint(mask * 255).astype(np.uint8)
