"""What a file is by its first bytes: names of formats, for messages about files that can't be read."""

import re

SUPPORTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are always decoded, by Pillow's names."""
WITH_CODEC = {"AVIF": "AVIF", "JPEG 2000": "JPEG2000", "HEIC": "HEIF", "HEIF": "HEIF", "JPEG XL": "JXL"}
"""Formats that are decoded where a codec is installed, as `format_of` names them → Pillow's names."""
_PACKAGES = {"HEIC": "pillow-heif", "HEIF": "pillow-heif", "JPEG XL": "pillow-jxl-plugin"}
"""Their codecs as pip knows them; Pillow brings the others itself, unless it was built without."""
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
    ".jp2",
)
"""Names of files that are taken for images where nothing else lists them; also those for which a codec may have to be
installed, or they would be left out silently."""

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DirectDraw Surface (DDS)"),
    (b"icns", "Apple icons (ICNS)"),
    (b"\x00\x00\x01\x00", "Windows icon (ICO)"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
    (b"IIRO", "Olympus raw (ORF)"),
    (b"IIU\x00", "Panasonic raw (RW2)"),
    (b"SIMPLE  =", "FITS"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"BPG\xfb", "BPG"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\x00\x05\x16\x07", "AppleDouble, what macOS stores beside a file, no image"),
    (b"\x00\x00\x00\x01Bud1", "folder settings of macOS (.DS_Store), no image"),
    (b"version https://git-lfs", "Git LFS pointer, fetch the file with git lfs pull"),
    (b"PAR1", "Parquet"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive, unpack it first"),
    (b"Rar!", "RAR archive, unpack it first"),
    (b"PK\x03\x04", "zip archive"),
    (b"\x1f\x8b", "gzip, unpack it first"),
    (b"BZh", "bzip2, unpack it first"),
    (b"\xfd7zXZ\x00", "xz, unpack it first"),
    (b"\x28\xb5\x2f\xfd", "Zstandard, unpack it first"),
)  # fmt: skip
_BRANDS = {
    "AVIF": ("avif", "avis"),
    "HEIC": ("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"),
    "HEIF": ("mif1", "msf1", "mif2", "miaf"),
    "Canon raw (CR3)": ("crx ",),
    "QuickTime video": ("qt  ",),
}
_NETPBM = re.compile(rb"P[1-7f F][\s#]")
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", re.IGNORECASE | re.DOTALL)
_TAR_MARK = slice(257, 262)


def codec_advice(kind: str) -> str:
    """How to have a format of `WITH_CODEC` decoded, in a sentence without its full stop."""
    if kind in _PACKAGES:
        return f"To read {kind}: pip install {_PACKAGES[kind]}"
    return f"To read {kind}, use a Pillow that was built with it: pip install --force-reinstall pillow"


def format_of(start: bytes) -> str:
    """The name of a file's format; "" if it is not known.

    Args: start: at least its first 12 bytes; with 512 it knows tars and SVG too.
    """
    if start[4:8] == b"ftyp":
        return _of_brands(start)
    if start[:4] == b"RIFF":
        return "WEBP" if start[8:12] == b"WEBP" else "RIFF (sound or video)"
    if start[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "Canon raw (CR2)" if start[8:10] == b"CR" else "TIFF"
    if start[_TAR_MARK] == b"ustar":
        return "tar, unpack it first"
    if _NETPBM.match(start):
        return "Netpbm (PPM, PGM, PBM, PAM or PFM)"
    if not start:
        return "empty file"
    if not any(start):
        return "nothing but zeros"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        if _SVG.search(text):
            return "SVG"
        return "HTML page, no image: the server answered with a page" if _HTML.match(text) else "XML"
    if text[:2] in (b'{"', b"{\n", b"{\r", b"[{"):
        return "JSON"
    return next((name for mark, name in _STARTS if start.startswith(mark)), "")


def _of_brands(start: bytes) -> str:
    """The format of a file of the ISO base media family: by its major brand, or else by a compatible one."""
    length = max(16, min(int.from_bytes(start[:4], "big"), len(start)))
    brands = [start[8:12], *(start[place : place + 4] for place in range(16, length, 4))]
    for brand in brands:
        for name, of_format in _BRANDS.items():
            # HEIF is the container of both others, so that it says least.
            if brand.decode("latin-1") in of_format and name != "HEIF":
                return name
    heif = any(brand.decode("latin-1") in _BRANDS["HEIF"] for brand in brands)
    return "HEIF" if heif else "video (MP4 or its relatives)"
