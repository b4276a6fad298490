"""Options of the passes that come with the project, one dataclass each; light to import."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from model.config import ModelConfig, at_least
from pipeline.errors import ConfigError
from pipeline.files.urls import absolute
from pipeline.networks.options import NetworkOptions
from pipeline.networks.presets import PRESETS
from pipeline.preconditions import require_there

LONGEST_TRAINED_ON = 1000
_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
View = Literal["mirror", "smaller", "larger", "colours"]
"""`mirror`: left and right exchanged. `smaller`: within a margin, so that everything has 3/4 of its size. `larger`: the
middle alone, so that everything has 5/4 of its size. `colours`: brightness, contrast and saturation changed, by amounts
that follow from the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions:
    """Predict other views of each image, and compare their masks with the candidate's."""

    views: tuple[View, ...] = ("mirror",)
    """Which views: `mirror`, `smaller` (3/4, within a margin), `larger` (5/4, the middle alone), `colours` (brightness,
    contrast, saturation). Each takes as long as a prediction of the image."""
    view_members: int = 1
    """Ensemble members per view, at least 1."""
    view_steps: int = 2
    """DDIM steps per member, 1 to 999, with trailing timesteps; time grows with them."""

    def __post_init__(self) -> None:
        at_least(self, 1, "view_members", "view_steps")
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views is {self.views}; give one view or more, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessOptions(NetworkOptions):
    """Ask another model for its mask of each image, and compare it with the candidate's."""

    witness: str = ""
    """ONNX file of the other model; its external data lie in its folder. Needs the packages onnx and onnxruntime."""
    witness_model: str = ""
    """In place of --witness: a folder saved by `save_pretrained`, or `nano` for the embedded weights."""
    witness_trained_on: str = ""
    """What the witness was trained on, such as "DUTS-TR, HRSOD-TR"; the card says so. Must be given unless the preset
    knows."""
    witness_members: int = 1
    """Ensemble members of --witness-model."""
    witness_steps: int = 2
    """DDIM steps of each, with trailing timesteps."""

    def __post_init__(self) -> None:
        NetworkOptions.__post_init__(self)  # slots and `super()` do not go together
        at_least(self, 1, "witness_members", "witness_steps")
        if not self.witness_trained_on.isprintable() or len(self.witness_trained_on) > LONGEST_TRAINED_ON:
            raise ValueError(
                f"witness_trained_on is {self.witness_trained_on[:40]!r}…; it must be one line of at most "
                f"{LONGEST_TRAINED_ON} characters"
            )

    def check(self) -> None:
        """Refuse what a command line begins with: no witness, or one of which nothing is known.

        Raises: ConfigError: the options say too little or too much. CollectionError: there is no such file.
        """
        if bool(self.witness) == bool(self.witness_model):
            given = "both were given" if self.witness else "neither was given"
            raise ConfigError(f"--pass witness takes --witness FILE.onnx or --witness-model FOLDER: {given}")
        if not self.trained_on:
            raise ConfigError(
                "--witness-trained-on is empty: say what the witness was trained on, such as "
                '--witness-trained-on "DUTS-TR, HRSOD-TR", or "unknown". The card says so, and a witness that has seen '
                "a test set is no witness on that set"
            )
        if self.witness:
            require_there(self.witness, "--witness")

    def places(self) -> tuple[str, ...]:
        """Options that say where something is: `made_with` has its digest."""
        return ("witness", "witness_model")

    def resolved(self) -> "WitnessOptions":
        """With absolute paths, since replicas have working folders of their own."""
        is_folder = self.witness_model and ModelConfig(model=self.witness_model).is_folder
        return replace(
            self,
            witness=absolute(self.witness) if self.witness else "",
            witness_model=absolute(self.witness_model) if is_folder else self.witness_model,
        )

    @property
    def trained_on(self) -> str:
        """What is known of the witness's training; empty if nothing is."""
        return self.witness_trained_on.strip() or (PRESETS[self.preset].trained_on if self.preset != "none" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesOptions:
    """Let several witnesses vote."""

    votes_of: tuple[str, ...] = ()
    """Names of the witness passes, at least two."""

    def __post_init__(self) -> None:
        if len(set(self.votes_of)) != len(self.votes_of):
            raise ValueError(f"votes_of is {self.votes_of}; give each pass once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyOptions:
    """Say for each image whether it has no salient object."""

    witnesses: tuple[str, ...] = ()
    """Passes of other models (`witness`) that this run has; an image counts as empty only as far as they too find
    nothing."""

    def __post_init__(self) -> None:
        if len(set(self.witnesses)) != len(self.witnesses):
            raise ValueError(f"witnesses is {self.witnesses}; give each pass once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsOptions:
    """Describe each image by a vector and a perceptual hash, from which duplicates are found."""

    encoder: str = "model"
    """What says what an image shows: `model` (the backbone of --model), `none`, or an ONNX file with one image as input
    and one list of numbers as output (normalised as for ImageNet; needs the package onnxruntime)."""
    encoder_px: int = 192
    """Side in pixels of the squares that the encoder sees."""

    def __post_init__(self) -> None:
        if not 32 <= self.encoder_px <= 2048:
            raise ValueError(f"encoder_px is {self.encoder_px}; it must be from 32 to 2048")

    @property
    def is_file(self) -> bool:
        """Is the encoder a file?"""
        return self.encoder not in ("model", "none")

    def places(self) -> tuple[str, ...]:
        """Options that say where something is: `made_with` has its digest."""
        return ("encoder",)

    def resolved(self) -> "EmbeddingsOptions":
        """With absolute paths, since replicas have working folders of their own."""
        return replace(self, encoder=absolute(self.encoder)) if self.is_file else self


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesOptions:
    """Find near-duplicates in the run, and of images in other collections."""

    against: tuple[str, ...] = ()
    """Other collections, such as test sets: NAME=PATH each, a folder, zip, tars or parquet as for --images of a run."""
    duplicate_from: float = 0.8
    """Similarity from which on two images are near-duplicates, above 0, at most 1."""
    encoder: str = "model"
    """That of the pass embeddings, for the images of --against."""
    encoder_px: int = 192
    """As for the pass embeddings."""

    def __post_init__(self) -> None:
        if not 0 < self.duplicate_from <= 1:
            raise ValueError(f"duplicate_from is {self.duplicate_from}; it must be above 0 and at most 1")
        for text in self.against:
            name, _, place = text.partition("=")
            if not _SET_NAME.fullmatch(name) or not place:
                raise ValueError(
                    f"against has {text!r}; give NAME=PATH, such as DUTS-TE=/data/DUTS-TE/images, with a name of "
                    "letters, digits, dots and dashes"
                )
        names = [name for name, _ in self.sets]
        if doubled := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"against has the name {doubled} twice; give each collection its own")

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """Name and place of each collection, by name."""
        pairs = [text.partition("=") for text in self.against]
        return tuple(sorted((name, place) for name, _, place in pairs))

    @property
    def embeddings(self) -> EmbeddingsOptions:
        """How images are described."""
        return EmbeddingsOptions(encoder=self.encoder, encoder_px=self.encoder_px)

    def places(self) -> tuple[str, ...]:
        """As `EmbeddingsOptions.places`."""
        return ("against", "encoder")

    def resolved(self) -> "DuplicatesOptions":
        """As `EmbeddingsOptions.resolved`."""
        against = tuple(f"{name}={absolute(place)}" for name, place in self.sets)
        return replace(self, against=against, encoder=self.embeddings.resolved().encoder)
