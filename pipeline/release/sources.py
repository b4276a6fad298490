"""What a release was made by and from, in words and with addresses: model, collection, tool. For the card; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.config import ReleaseConfig
from pipeline.release.templates import as_cell, as_text
from pipeline.shown import shown

TOOL = "sod-benchmark"
EMBEDDED = {
    "06808a28e7e8ca456dc9585926431633448896aa018d0b1357416818926a8ea8": "nano, the model embedded in sod-benchmark",
    "d10794c506cfd1a5dd88c9e9b04d8292a7b5765be46710b21fb8d15ee4d59c6a": "nano, the model embedded in sod-benchmark",
    "eee1b9bf112253d55b32eefebd99f358186e879d5d694e02857d605a421bd11f": "nano, the model embedded in sod-benchmark",
    "e1fab49c24550893a2ee1801a7e93825292dd6e046349a481dd65596c725d2d9": "nano, the model embedded in sod-benchmark",
    "fake": "a stand-in without weights, for trying out the pipeline",
}
"""Digest of the weights of every embedded model there has been → its name. Never remove a line: releases name them."""
SOD_DIFFUSION = """@article{zhang2024soddiffusion,
  title   = {{SOD-diffusion}: Salient Object Detection via Diffusion-Based Image Generators},
  author  = {Zhang, Shuo and Huang, Jiaming and Chen, Shizhe and Wu, Yan and Hu, Tao and Liu, Jing},
  journal = {Computer Graphics Forum},
  volume  = {43},
  number  = {7},
  pages   = {e15251},
  year    = {2024},
  doi     = {10.1111/cgf.15251}
}"""
_ON_HUB = re.compile(r"hf://([\w.-]+/[\w.-]+)@([0-9a-f]{40})((?:/[\w.~-]+)*)", re.ASCII)
_LONGEST_URL = 150
_TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "`": r"\textasciigrave{}",
}
_WORDS = {
    ("batch_size", "None"): "the whole batch",
    ("batch_size", "0"): "as many as fit in free memory",
    ("processing_res", "None"): "the size that the weights were trained for",
    ("processing_res", "0"): "the size of the image",
    ("stops_by", ""): "nothing: every image has all members",
    ("pillow-heif", ""): "not installed",
    ("pillow-jxl-plugin", ""): "not installed",
    ("", "None"): "not set",
    ("", ""): "none",
    ("", "True"): "yes",
    ("", "False"): "no",
}
"""Field (empty: any) and value of a fingerprint → what the value stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A row of the card: what, and as Markdown, by which name, address and digest."""

    what: str
    said: str


def sources_of(release: ReleaseConfig, made_with: Mapping[str, str]) -> list[Source]:
    """Model, collection and tool, as far as the publisher names them.

    Args: made_with: the fingerprint of the run.
    """
    weights = made_with.get("weights", "unknown")
    model = release.model_name or EMBEDDED.get(weights, "")
    return [
        Source(
            what="model",
            said=_named(as_text(model), release.model_url) + f"; digest of its weights: `{weights}`",
        ),
        Source(what="collection", said=_named(as_cell(release.collection_name), release.collection_url)),
        Source(
            what="tool",
            said=_named(TOOL, release.tool_url) + f"; digest of its code: `{made_with.get('code', 'unknown')}`",
        ),
    ]


def with_model(release: ReleaseConfig, url: str) -> ReleaseConfig:
    """The release with name and address of the model that was fetched from a URL, unless its publisher names one.

    Args: url: at a fixed commit, if it is on the Hub; "": the model was not fetched.
    """
    if not url or release.model_name or release.model_url:
        return release
    on_hub = _ON_HUB.fullmatch(url)
    if not on_hub:
        return replace(release, model_name=shown(url)) if url.isprintable() and len(url) <= _LONGEST_URL else release
    name, commit, below = on_hub.groups()
    return replace(
        release,
        model_name=f"{name}{below or ''} at {commit}",
        model_url=f"https://huggingface.co/{name}/tree/{commit}{below or ''}",
    )


def _named(name: str, url: str) -> str:
    said = name or "not named by the publisher"
    return f"{said}, <{url}>" if url else said


def in_words(field: str, value: str) -> str:
    """A value of the fingerprint as the card shows it, in Markdown."""
    words = _WORDS.get((field, value), "") or _WORDS.get(("", value), "")
    return words or f"`{value}`"


def bibtex_of(release: ReleaseConfig, made_with: Mapping[str, str]) -> str:
    """Entries for the release, SOD-diffusion and the tool."""
    entries = [
        _entry(
            f"{release.name}-{release.version}",
            title=f"{{{_tex(f'{release.name}, version {release.version}')}}}",
            author=f"{{{_tex(release.creator or f'{release.name} contributors')}}}",
            year=release.published_on[:4],
            url=release.homepage,
            note=_tex(f"Images from {release.collection_name}") if release.collection_name else "",
        ),
        *([] if made_with.get("weights") == "fake" else [SOD_DIFFUSION]),
        _entry(
            "sod-benchmark-tool",
            title=f"{{{TOOL}}}: Turns a collection of images into a versioned salient-object benchmark",
            author=f"{{The {TOOL} authors}}",
            url=release.tool_url,
            note=f"Code with the digest {made_with.get('code', 'unknown')[:12]}",
        ),
    ]
    return "\n\n".join(entries)


def _entry(key: str, **fields: str) -> str:
    given = {name: value for name, value in fields.items() if value}
    lines = [f"  {name:<6} = {{{value}}}" for name, value in given.items()]
    return f"@misc{{{re.sub('[^A-Za-z0-9._-]', '-', key)},\n" + ",\n".join(lines) + "\n}"


def _tex(text: str) -> str:
    """A text in which TeX has nothing to obey, and which can't end the block of code that it stands in."""
    return "".join(_TEX.get(letter, letter) for letter in text)
