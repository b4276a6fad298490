"""GIF: of what stands before the first frame, only the screen, its palette and the controls of frames are kept."""

import re

from pipeline.files.scan.limits import require_few_parts

_HEADER_BYTES = 13
_CONTROL = 0xF9
_BLOCK = re.compile(rb"[!,;]")
_EXTENSION = ord("!")


def prepared(content: bytes) -> bytes:
    """The file without comments, application blocks and junk before its first frame.

    Raises: OverBudgetError: `too_slow`: too many blocks.
    """
    if len(content) < _HEADER_BYTES:
        return content
    flags = content[10]
    at = _HEADER_BYTES + ((3 << ((flags & 7) + 1)) if flags & 0x80 else 0)
    kept = [content[:at]]
    parts = 0
    while (found := _BLOCK.search(content, at)) and content[found.start()] == _EXTENSION:
        start = found.start()
        end = start + 2
        # Sub-blocks: a length and as many bytes, until a length is 0.
        while end < len(content) and content[end]:
            end += 1 + content[end]
            parts += 1
            require_few_parts(parts, "blocks before the first frame")
        end += 1
        parts += 1
        require_few_parts(parts, "blocks before the first frame")
        if start + 1 < len(content) and content[start + 1] == _CONTROL:
            kept.append(content[start:end])
        at = end
    return b"".join([*kept, content[found.start() :] if found else b""])


def is_gif(content: bytes) -> bool:
    """Does the file begin as a GIF does?"""
    return content.startswith((b"GIF87a", b"GIF89a"))
