"""Does a text about training data name the collection that a board's images are from? Pure.

Collections and texts are written by people: `COCO train2017`, `MS COCO 2017, validation`, `10,553 images of DUTS-TR`.
"""

import re
from itertools import groupby

_WORD = re.compile(r"[^\W_]+")
_BETWEEN_NAMES = re.compile(r"[^\w\s-]+")
_YEAR = r"(?:19|20)\d\d"
_ASIDE = re.compile(
    rf"\d+|v\d+|(?:train|training|trainval|val|valid|validation|test|testing|dev|minival|unlabell?ed)(?:{_YEAR})?"
)
"""Numbers, years, versions and splits."""
_COMMON = frozenset({
    "about", "all", "and", "any", "are", "collection", "collections", "data", "dataset", "datasets", "for", "from",
    "image", "images", "its", "open", "our", "own", "part", "parts", "photo", "photograph", "photographs", "photos",
    "picture", "pictures", "public", "set", "sets", "some", "split", "splits", "subset", "that", "the", "this",
    "under", "with",
})  # fmt: skip
"""Words that a name and any other text may have."""
_LEAST_LETTERS = 3


def is_named(collection: str, trained_on: str) -> bool:
    """Does the text have a name of the collection, in whole words?

    A word like COCO, ImageNet or Flickr30k is a name by itself. Others, such as Visual Genome, count only together.
    Splits, years, versions, common and short words count only where the collection has nothing else: Open Images V7.
    """
    said = _plain(trained_on)
    patterns = (r"[\W_]*".join(map(re.escape, words)) for words in _names(collection))
    return any(re.search(rf"(?<![^\W_]){pattern}(?:{_YEAR})?(?![^\W_])", said) for pattern in patterns)


def _names(collection: str) -> list[list[str]]:
    """The words of each name."""
    found: list[list[str]] = []
    for part in _BETWEEN_NAMES.split(collection):
        for kind, words in groupby(_WORD.findall(part), _kind):
            plain = [re.sub(rf"(?<=\D){_YEAR}$", "", _plain(word)) for word in words]
            if kind == "name":
                found += [[word] for word in plain]
            elif kind == "word":
                found.append(plain)
    return found or _whole(collection)


def _whole(collection: str) -> list[list[str]]:
    """All words as one name, without the asides at its end."""
    words = _WORD.findall(_plain(collection))
    while len(words) > 1 and _ASIDE.fullmatch(words[-1]):
        words.pop()
    return [words] if words else []


def _kind(word: str) -> str:
    """`name`, `word`, or "" if it tells nothing by itself."""
    plain = word.casefold()
    if plain in _COMMON or _ASIDE.fullmatch(plain) or sum(map(str.isalpha, plain)) < _LEAST_LETTERS:
        return ""
    has_own_form = sum(map(str.isupper, word)) > 1 or any(map(str.isdecimal, word))
    return "name" if has_own_form else "word"


def _plain(text: str) -> str:
    """In small letters; COCO has two spellings."""
    return text.casefold().replace("mscoco", "coco")
