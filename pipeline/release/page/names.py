"""What the page calls columns, scores and reasons; the names of the manifest stand in hints beside them."""

from collections.abc import Mapping

LABELS: Mapping[str, str] = {
    # Scores
    "ensemble_variance": "Variance",
    "ensemble_variance_per_area": "Variance per area",
    "pairwise_iou": "Agreement (IoU)",
    "area": "Area",
    "border": "Touches the border",
    "max_saliency": "Highest saliency",
    "stability": "Stability",
    "instance_iou": "IoU with instances",
    # Reasons
    "variance_above_max": "Variance too large",
    "variance_per_area_above_max": "Variance per area too large",
    "no_salient_object": "No salient object",
    "object_fills_image": "Object fills the image",
    "license_not_allowed": "Licence not allowed",
    "beyond_target": "Beyond the target count",
    "missing": "File missing",
    "undecodable": "Can't be decoded",
    "size_mismatch": "Size differs from the annotations",
    "too_large": "Too large",
    # Columns
    "exif_orientation": "EXIF orientation",
    "fewer_at_once": "Fewer members at once",
    "frame": "Frame of the maps",
    "image_bytes": "Bytes of the image",
    "image_id": "Image id",
    "image_sha256": "SHA-256 of the image",
    "instances_ignored": "Instances ignored",
    "in_the_tar": "Files in the tar",
    "maps_sha256": "SHA-256 of the maps",
    "mask_sha256": "SHA-256 of the mask",
    "released_as": "Stored as",
    "released_bytes": "Bytes as stored",
    "released_sha256": "SHA-256 as stored",
    "sample_bytes": "Bytes in the tar",
    "sample_offset": "Offset in the tar",
}
"""Name → what people call it. The page makes the others from their names: underscores become spaces."""
