"""The prose of `croissant.json`: about the release, the files of a sample, and responsible AI.

The properties are those of the Croissant RAI vocabulary 1.0 (docs.mlcommons.org/croissant, croissant-rai-spec), except
for the time frame of the data collection, which only the collection knows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.passes.folder import StatedPass
from pipeline.release.certified import Certified
from pipeline.release.templates import AGREEMENT, UNCHECKED
from pipeline.selection.policy import PolicyConfig, stated
from pipeline.selection.stopping_rule import members_in_words

MEMBERS = {
    "jpg": (
        "image",
        "The collection's image file, whatever its format: byte for byte, unless `released_as` in the manifest says "
        "otherwise.",
    ),
    "mask.png": ("mask", "Mask of the salient object at the size of the image: 255 inside, 0 outside."),
    "saliency.png": ("saliency", "Saliency map at the size of the image; a stored v stands for v / 255."),
    "variance.png": (
        "variance",
        "Variance over the ensemble members at the size of the image; a stored v stands for (v / 510)².",
    ),
}
"""Extension of a picture that every tar has → name of its Croissant field, and what it is; the card shows it too."""
ON_REQUEST = {
    "mask_2.png": (
        "mask_2",
        "Second mask at the size of the image: what the second largest group of ensemble members sees, 255 inside, 0 "
        "outside; equal to the mask if they see one thing.",
    ),
    "trimap.png": (
        "trimap",
        "Trimap at the size of the image: 0 sure background (saliency up to 0.2), 255 sure foreground (at least 0.8), "
        "128 unsure.",
    ),
}
"""The same for pictures that some releases have."""
PICTURES = MEMBERS | ON_REQUEST


def pictures_of(release: ReleaseConfig) -> dict[str, tuple[str, str]]:
    """Those of `PICTURES` that every sample of a release has."""
    left_out = {
        "jpg": not release.embed_images,
        "mask_2.png": not release.alternatives,
        "trimap.png": not release.trimap,
    }
    return {extension: said for extension, said in PICTURES.items() if not left_out.get(extension)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CroissantAbout:
    """What the document says about a release besides its files."""

    release: ReleaseConfig
    policy: PolicyConfig
    counts: Mapping[str, int]
    """Decision → images."""
    made_with: Mapping[str, str]
    """The fingerprint of the run."""
    passes: Sequence[StatedPass] = ()
    """The score passes whose columns the manifest has."""
    certificate: Certified | None = None
    """What the document of an annex states; the release's own knows of none."""

    @property
    def checked(self) -> str:
        """Whether people have looked at the masks, in a sentence."""
        return self.certificate.sentence if self.certificate else UNCHECKED


def description(about: CroissantAbout) -> str:
    """Describe the release in a few sentences."""
    where = (
        "The images are in its tars."
        if about.release.embed_images
        else "The images themselves are not here: find them by image_id, file_name and image_sha256."
    )
    return (
        f"Masks of the salient object in {about.counts.get('accepted', 0)} images. An ensemble of "
        f"{members_in_words(about.made_with)} SOD-diffusion runs predicted each image; masks on which the runs agree "
        f"were kept. {about.checked} {AGREEMENT} {where}{_empty(about.policy)}"
    )


def _empty(policy: PolicyConfig) -> str:
    if not policy.keep_empty:
        return ""
    return (
        f" Images with {policy.keep_empty} were kept as scenes without a salient object: their mask is empty, and "
        "`scene` in the manifest is empty."
    )


def responsible_ai(about: CroissantAbout) -> dict[str, Any]:
    """Property → text, or list of texts where the vocabulary allows several."""
    texts = _collection(about) | _annotation(about) | _use(about)
    if about.certificate:
        texts |= _audit(about.certificate, texts)
    return {f"rai:{name}": text for name, text in texts.items()}


def _collection(about: CroissantAbout) -> dict[str, Any]:
    accepted, rejected, failed = (about.counts.get(name, 0) for name in ("accepted", "rejected", "failed"))
    policy = json.dumps(stated(about.policy), sort_keys=True)
    return {
        "dataCollection": "No picture was taken for this release. A program segmented every image of an existing "
        "collection and kept or rejected it by the scores of its prediction: "
        f"{accepted} accepted, {rejected} rejected, {failed} failed. The manifest has a row for each of them.",
        "dataCollectionType": ["Secondary Data analysis", "Software Collection"],
        "dataCollectionMissingData": f"{failed} images failed: they could not be read or predicted, and their "
        "scores are null. Rejected images have scores and a reason, but no mask in this release. Where the collection "
        "does not give an image's licence, author or instances, these are empty or null.",
        "dataCollectionRawData": "Images, ids, names, sizes and licences are those of the collection. "
        "image_sha256 is the SHA-256 of the image file that was predicted.",
        "dataImputationProtocol": "None: no missing value was filled in.",
        "dataManipulationProtocol": "Images are unchanged, except for those that some readers would turn or could not "
        "read: released_as in the manifest says what was done to them. Maps are resized to the size of the image; the "
        "mask covers the pixels whose saliency is at least one half.",
        "dataPreprocessingProtocol": [
            "Images were accepted under the following policy. Its bounds use the units of the manifest's columns; a "
            f"target of 0 images means no target, an empty list of licences means all: {policy}"
        ],
    }


def _annotation(about: CroissantAbout) -> dict[str, Any]:
    ensemble_size = about.made_with["ensemble_size"]
    return {
        "dataAnnotationProtocol": f"Machine-generated: for each image, up to {ensemble_size} runs of a diffusion "
        "model, each starting from different noise, are reduced to one saliency map, one variance map and one mask. "
        "No human drew, chose or corrected a mask.",
        "dataAnnotationPlatform": [
            "None: there were no human annotators. rai:machineAnnotationTools lists the tools used."
        ],
        "dataAnnotationAnalysis": [
            "ensemble_variance, ensemble_variance_per_area, pairwise_iou and stability measure how far the members "
            "agree; the manifest has them for every predicted image, accepted or not.",
            "Agreement is not correctness. The members share weights, so they share blind spots: where the model is "
            "confidently wrong, all members are, and the variance is small.",
            "instance_iou compares a mask with the collection's own annotated instances, if the image has any. A low "
            "value can also mean that the object belongs to no annotated category.",
        ],
        "annotationsPerItem": f"No human label; one mask, reduced from up to {ensemble_size} predictions.",
        "annotatorDemographics": ["There were no human annotators."],
        "machineAnnotationTools": [
            *(f"{name}: {value}" for name, value in sorted(about.made_with.items())),
            *(
                f"score pass {stated.name}, {name}: {value}"
                for stated in about.passes
                for name, value in sorted(stated.document.fingerprint.items())
            ),
        ],
    }


def _audit(found: Certified, texts: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that a certificate changes: people judged a sample, though they drew no mask of the release."""
    raters = "one rater" if found.raters == 1 else f"{found.raters} raters"
    shares = [
        f"In the sample, {share.good} of {found.images} masks have an IoU of at least {share.iou} with the mask that "
        f"people settled on; so at least {share.at_least:.1%} of all {found.population} have, all such shares together "
        f"with a confidence of {found.confidence:g} over the draw."
        for share in found.shares
    ]
    return {
        "dataAnnotationProtocol": f"{texts['dataAnnotationProtocol']} Afterwards {raters} looked at {found.images} "
        "accepted images, which the SHA-256 of release.json had drawn, without seeing any score. Their answers are in "
        "this annex; they changed no mask.",
        "dataAnnotationPlatform": [
            "None for the masks: rai:machineAnnotationTools lists the tools used.",
            *(
                f"For {images} answers of the audit: {'its own page' if source == 'page' else source}."
                for source, images in found.sources.items()
            ),
        ],
        "dataAnnotationAnalysis": [found.sentence, *shares, *texts["dataAnnotationAnalysis"]],
        "annotationsPerItem": f"{texts['annotationsPerItem']} The audit has one or two human judgements of each of "
        f"{found.images} images (two of {found.judged_twice}), and none of the others.",
        "annotatorDemographics": ["No human drew the masks. Nothing is recorded of the people who judged the sample."],
    }


def _use(about: CroissantAbout) -> dict[str, Any]:
    masks = "are two masks" if about.release.alternatives else "is one mask"
    images = "Images" if about.release.embed_images else "The images that the masks belong to"
    return {
        "dataBiases": [
            "Accepted images are the ones this model finds easy; hard ones were rejected. A benchmark made of them "
            "favours models that make the same errors.",
            "The release inherits the biases of its collection: which subjects are common, where images come from.",
            "Which object is salient is a matter of opinion; here it is that of one model and its training data.",
        ],
        "dataLimitations": [
            f"The masks are not ground truth. {about.checked}",
            f"There {masks} per image: several salient objects share it, and objects have no class.",
            "A number measured on these masks measures agreement with this ensemble. Report it as such.",
        ],
        "dataUseCases": [
            "Testing: comparing methods of salient object detection, with the source of the masks stated.",
            "Training: as pseudo-labels, weighted or filtered by the scores and the variance map.",
            "Not recommended: as the only evidence of a method's quality, or for decisions about people.",
        ],
        "dataSocialImpact": "None known beyond that of the collection. Models trained on these masks repeat the "
        "errors of the model that made them.",
        "personalSensitiveInformation": [
            f"{images} may show recognisable people, and masks may outline them. Nobody searched for such images, and "
            "nothing was blurred or removed.",
            "licenses.csv and the manifest name photographers if the collection does.",
        ],
        "dataReleaseMaintenancePlan": "A published version never changes. Corrections and removals on request make a "
        "new version from the same stored predictions. release.json says what a version was made from.",
    }
