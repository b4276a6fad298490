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
