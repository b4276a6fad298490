"""Image files put together by hand: with metadata, blocks and directories that no library would write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
PIXELS = (np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3)[:, :, None] + [0, 40, 90]).astype(np.uint8)


def encoded(image_format, pixels=PIXELS, mode=None, **options):
    """The bytes that Pillow writes for the pixels."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, image_format, **options)
    return file.getvalue()


def segment(marker, content=b""):
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(inserted, jpeg=None):
    """A JPEG with the bytes after its first marker."""
    jpeg = jpeg or encoded("JPEG")
    return jpeg[:2] + inserted + jpeg[2:]


def jpeg_with_scans(count, side_px=16):
    """A progressive JPEG whose last scan is repeated until it has `count` more of them."""
    jpeg = encoded("JPEG", np.zeros((side_px, side_px, 3), np.uint8), progressive=True)
    scan = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * count + jpeg[-2:]


def chunk(name, content=b""):
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_with(before=b"", after=b"", idat_bytes=0):
    """A PNG with chunks before and after its data, which is cut into chunks of `idat_bytes`."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
    step = idat_bytes or len(packed)
    data = b"".join(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND")


def deep_png(values, colour_type, before=b""):
    """A PNG of 16 bits from [H, W, channels] of uint16."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values.astype(">u2")))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", packed) + chunk(b"IEND")


def gif_with(inserted):
    """A GIF with the bytes before its first frame."""
    gif = encoded("GIF", PIXELS[:, :, 0])
    at = 13 + (3 << ((gif[10] & 7) + 1))
    return gif[:at] + inserted + gif[at:]


def gif_comment(blocks):
    """A comment of blocks of one letter."""
    return b"!\xfe" + b"\x01a" * blocks + b"\0"


def webp_with(chunks):
    """A WebP with chunks after its image."""
    image = encoded("WEBP", lossless=True)[12:]
    canvas = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + canvas + image + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_rle(width, height, code):
    """A BMP in run-length coding."""
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(code), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(code), 0, 0, start) + header + palette + code


def tiff_of(tags, content=b"", order="<", big=False):
    """A TIFF with one directory, behind `content`: tag → one number, or a list of them that stands after it."""
    head = 16 if big else 8
    entry, inline = ("HHQ", 8) if big else ("HHI", 4)
    at = head + len(content)
    lists_at = at + (8 if big else 2) + len(tags) * (20 if big else 12) + (8 if big else 4)
    entries = lists = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > inline:
            offset = struct.pack(order + ("Q" if big else "I"), lists_at + len(lists))
            lists, packed = lists + packed, offset
        entries += struct.pack(order + entry, tag, 4, len(values)) + packed.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, at) if big else (42, at)))
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return mark + start + content + count + entries + bytes(8 if big else 4) + lists


GREY_STRIP = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: WIDTH * HEIGHT}
"""Tags of a grey image in one strip, which stands at the beginning."""


def exif_with(orientation, order="<", kind=3):
    """An Exif block with one entry: the orientation, 2 bytes long."""
    start = b"Exif\0\0" + (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "HHHIHxxI", 1, 0x0112, kind, 1, orientation, 0)


def icc_profile(gamma, to_xyz, *, space=b"RGB ", device=b"mntr", tags=None):
    """A colour profile (ICC version 2) of a screen: the exponent of its levels, and the matrix from them to XYZ."""

    def number(value):
        return struct.pack(">i", round(value * 65536))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ " + bytes(4) + number(0.9642) + number(1.0) + number(0.8249)
    if tags is None:
        columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), np.transpose(to_xyz), strict=True))
        tags = {name: b"XYZ " + bytes(4) + b"".join(map(number, column)) for name, column in columns.items()}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags = {b"wtpt": white, **tags}
    at, table, contents = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    connection = b"Lab " if b"A2B0" in tags else b"XYZ "
    head = b"lcms" + struct.pack(">I", 0x02400000) + device + space + connection + bytes(12) + b"acsp" + bytes(28)
    head += white[8:] + bytes(48)
    size = 4 + len(head) + 4 + len(table) + len(contents)
    return struct.pack(">I", size) + head + struct.pack(">I", len(tags)) + table + contents


ADOBE_RGB = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
"""Adobe RGB (1998): levels to XYZ of the connection space; its exponent is 2.2."""
DISPLAY_P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
"""Display P3; an exponent of 2.2 comes near its curve."""


def ink_profile(darkest=0):
    """A profile of four inks that make every colour grey, from white paper to black ink, whose lightness is given."""
    lab = [
        [round((100 - (100 - darkest) * min(1, (cyan + magenta + yellow) / 4 + black)) * 652.8), 32768, 32768]
        for cyan in (0, 1)
        for magenta in (0, 1)
        for yellow in (0, 1)
        for black in (0, 1)
    ]
    black = [[0, 0, 0, 65535]] * 4 + [[0, 0, 0, 0]] * 4  # of a dark and a light colour
    tags = {b"A2B0": color_table(4, lab), b"B2A0": color_table(3, black)}
    return icc_profile(1, (), space=b"CMYK", device=b"prtr", tags=tags)


def color_table(inputs, colors):
    """A tag of a profile: two steps of each input, and the colour of each combination."""
    outputs = len(colors[0])
    matrix = b"".join(struct.pack(">i", 65536 * (place % 4 == 0)) for place in range(9))
    straight = struct.pack(">2H", 0, 65535)
    values = np.ravel(colors).astype(">u2").tobytes()
    head = b"mft2" + bytes(4) + bytes([inputs, outputs, 2, 0]) + matrix + struct.pack(">2H", 2, 2)
    return head + straight * inputs + values + straight * outputs
