"""The field's test sets, and which of them a text about training data names. Pure.

A witness that was trained on a test set knows its answers: no curve that it takes part in may be shown on that set.
Lists of training data spell the sets in many ways: `DUTS-TR_TE`, `TE-HRSOD`, `DIS-TEs`, `OMRON`, `HKU IS`.
"""

import re
from dataclasses import dataclass

_TRAINING = r"(?:training|train|tr)"
_TESTING = r"(?:testing|tests|test|tes|te\d*)"
_PART = rf"(?:{_TRAINING}|{_TESTING}|validation|val|vd)(?:sets?|split|images)?"
_TWO_WORDS = re.compile(r"\b(dut|hku|pascal|davis|sod|dis|dis5k) (omron|is|s|300|5k|vd)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A set that results are published on."""

    name: str
    spelling: str
    """Pattern of its name in small letters, without hyphens and without the part."""
    has_parts: bool = False
    """It is the test part of a set that has a training part, so a text may name the set and leave the part open."""


TEST_SETS: tuple[PublishedSet, ...] = (
    PublishedSet(name="DUTS-TE", spelling="duts", has_parts=True),
    PublishedSet(name="DUT-OMRON", spelling="(?:dut)?omron|duto"),
    PublishedSet(name="ECSSD", spelling="ecssd"),
    PublishedSet(name="HKU-IS", spelling="hkuis"),
    PublishedSet(name="PASCAL-S", spelling="pascals"),
    PublishedSet(name="SOC", spelling="soc(?:6k)?", has_parts=True),
    PublishedSet(name="SOD-300", spelling="sod300"),
    PublishedSet(name="SOD", spelling="sod", has_parts=True),  # also the name of the task, so never sure
    PublishedSet(name="DAVIS-S", spelling="daviss(?:od)?"),
    PublishedSet(name="HRSOD-TE", spelling="hrsod", has_parts=True),
    PublishedSet(name="UHRSD-TE", spelling="uhrsd", has_parts=True),
    PublishedSet(name="HRS10K-TE", spelling="hrs10k", has_parts=True),
    PublishedSet(name="DIS-TE", spelling="dis(?:5k)?", has_parts=True),
    PublishedSet(name="DIS-VD", spelling="dis(?:5k)?vd"),
)
"""Sets that papers of 2020 to 2026 compare salient object detection and dichotomous segmentation on."""

_NO_NAME = re.compile(r"\b(?:test|benchmark)(?:ing)?[- ]?(?:data)?sets?\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A test set that a text about training data names."""

    test_set: str
    is_sure: bool
    """False: the text does not say which part, or which test set."""

    def __str__(self) -> str:
        return self.test_set if self.is_sure else f"perhaps {self.test_set}"


def mentions_in(trained_on: str) -> tuple[Mention, ...]:
    """The test sets that a text names, in the order of `TEST_SETS`."""
    words = _words(trained_on)
    found: list[Mention] = []
    for test_set in TEST_SETS:
        answers = [_names_the_test_part(test_set, words, place) for place in range(len(words))]
        if any(answer is not None for answer in answers):
            found.append(Mention(test_set=test_set.name, is_sure=True in answers))
    if not found and _NO_NAME.search(trained_on.casefold()):
        found.append(Mention(test_set="a test set that the text does not name", is_sure=False))
    return tuple(found)


def _words(text: str) -> list[str]:
    """In small letters and without hyphens; names of two words are one."""
    plain = re.sub(r"[-_‐‑‒–−]", "", _TWO_WORDS.sub(r"\1\2", text.casefold().replace("_", "-")))
    return [word for word in re.split(r"[^a-z0-9]+", plain) if word]


def _names_the_test_part(test_set: PublishedSet, words: list[str], place: int) -> bool | None:
    """Does a word name the set's test part? None: no; False: it may, since the part stays open."""
    match = re.fullmatch(rf"((?:{_PART})*)(?:{test_set.spelling})((?:{_PART})*)", words[place])
    if not match:
        return None
    if not test_set.has_parts:
        return True
    parts = match[1] + match[2]
    for word in words[place + 1 :]:  # "DUTS TE", "DUTS (training set)"
        if not re.fullmatch(_PART, word):
            break
        parts += word
    if re.search(_TESTING, parts):
        return True
    return None if parts else False
