"""What `croissant.json` says in words: of the release, of its columns, and for responsible AI.

The properties are those of the Croissant RAI vocabulary 1.0 (docs.mlcommons.org/croissant, croissant-rai-spec). Its
time frame of a collection is left out: nobody but the collection knows it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.stopping_rule import members_in_words

MEMBERS = {
    "jpg": ("image", "The image: the bytes of the collection, whatever their format."),
    "mask.png": ("mask", "Mask of the salient object, at the size of the image: 255 inside, 0 outside."),
    "saliency.png": ("saliency", "Saliency map, at the size of the image; v stands for v / 255."),
    "variance.png": (
        "variance",
        "Variance over the ensemble members, at the size of the image; v stands for (v / 510) squared.",
    ),
}
"""Extension of a picture in a tar → name of its field, and what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CroissantAbout:
    """What is said of a release beyond its files."""

    release: ReleaseConfig
    policy: PolicyConfig
    counts: Mapping[str, int]
    """Decision → images."""
    made_with: Mapping[str, str]
    """The fingerprint of the run."""


def description(about: CroissantAbout) -> str:
    """The release in four sentences."""
    where = (
        "The images are in its tars."
        if about.release.embed_images
        else "The images themselves are not here: find them by image_id, file_name and image_sha256."
    )
    return (
        f"Masks of the salient object of {about.counts.get('accepted', 0)} images, made by an ensemble of "
        f"{members_in_words(about.made_with)} SOD-diffusion runs per image and kept where the runs agree. "
        "No human has checked them. Agreement is not correctness: an ensemble can agree on the wrong object. " + where
    )


def responsible_ai(about: CroissantAbout) -> dict[str, Any]:
    """Property → text, or texts where the vocabulary allows several."""
    texts = _collection(about) | _annotation(about) | _use(about)
    return {f"rai:{name}": text for name, text in texts.items()}


def _collection(about: CroissantAbout) -> dict[str, Any]:
    accepted, rejected, failed = (about.counts.get(name, 0) for name in ("accepted", "rejected", "failed"))
    policy = json.dumps(asdict(about.policy), sort_keys=True)
    return {
        "dataCollection": "No picture was taken for this release. Every image of a collection that was there was "
        "segmented by a program, and kept or not by the scores of its prediction: "
        f"{accepted} accepted, {rejected} rejected, {failed} failed. The manifest has a row for each of them.",
        "dataCollectionType": ["Secondary Data analysis", "Software Collection"],
        "dataCollectionMissingData": f"The {failed} failed images could not be read or predicted: their scores are "
        "null. Rejected images have scores and a reason, but no mask here. What the annotations of the collection do "
        "not say of an image (licence, author, instances) is empty or null.",
        "dataCollectionRawData": "Images, ids, names, sizes and licences are those of the collection. "
        "image_sha256 is of the bytes that were predicted.",
        "dataImputationProtocol": "None: no value was filled in.",
        "dataManipulationProtocol": "Images are not changed. Maps are resized to the image's own size; a mask is where "
        "the saliency map is at least one half.",
        "dataPreprocessingProtocol": [
            "An image was accepted by this policy, whose bounds are in the units of the manifest's columns "
            f"(0 images as a target, and an empty list of licences, mean all): {policy}"
        ],
    }


def _annotation(about: CroissantAbout) -> dict[str, Any]:
    ensemble_size = about.made_with["ensemble_size"]
    return {
        "dataAnnotationProtocol": f"Machine-generated: up to {ensemble_size} runs of a diffusion model from different "
        "noise give one saliency map, one variance map and one mask per image. "
        "No human drew, chose or corrected a mask.",
        "dataAnnotationPlatform": ["None: no human annotated. rai:machineAnnotationTools says what did."],
        "dataAnnotationAnalysis": [
            "Agreement of the members is measured by ensemble_variance, ensemble_variance_per_area, pairwise_iou and "
            "stability; the manifest has them for every predicted image, accepted or not.",
            "Agreement is not correctness. Members share weights, so they share blind spots: where the model is wrong "
            "with confidence, all members are, and the variance is small.",
            "instance_iou compares a mask with the collection's own instances where there are any. A low value can "
            "also mean that the object is of no annotated kind.",
        ],
        "annotationsPerItem": f"0 human labels; 1 mask, reduced from up to {ensemble_size} predictions.",
        "annotatorDemographics": ["There were no human annotators."],
        "machineAnnotationTools": [f"{name}: {value}" for name, value in sorted(about.made_with.items())],
    }


def _use(about: CroissantAbout) -> dict[str, Any]:
    shown = "Images" if about.release.embed_images else "The images that the masks belong to"
    return {
        "dataBiases": [
            "Accepted images are those that this model finds easy; hard ones were rejected. A benchmark of them "
            "favours models that err like this one.",
            "What the collection shows often, or from one part of the world, this release does too.",
            "Which object is salient is a matter of opinion; here it is that of one model and its training data.",
        ],
        "dataLimitations": [
            "Masks were not checked by people: they are no ground truth.",
            "One mask per image: several salient objects are one region, and none of them has a class.",
            "Numbers measured on these masks measure agreement with this ensemble. State them as such.",
        ],
        "dataUseCases": [
            "Testing: comparing methods of salient object detection with each other, the source of the masks stated.",
            "Training: pseudo-labels, weighted or filtered by the scores and the variance map.",
            "Not recommended: as the only evidence of a method's quality, or for decisions about people.",
        ],
        "dataSocialImpact": "None is known beyond that of the collection. Errors of the model are repeated by whoever "
        "learns from its masks.",
        "personalSensitiveInformation": [
            f"{shown} may show people who can be recognised, and their outlines may be masks. Nothing of that kind was "
            "looked for, blurred or removed.",
            "licenses.csv names photographers as the collection's annotations do.",
        ],
        "dataReleaseMaintenancePlan": "A version is never changed: what is mended, or left out on request, makes a new "
        "version from the same stored predictions. release.json says what a version was made from.",
    }
