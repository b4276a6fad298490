"""Public datasets are found as their authors packed them, and in the usual re-packagings."""

import pytest

from pipeline.errors import CollectionError
from pipeline.evaluation.config import DATASET_NAMES
from pipeline.evaluation.datasets import DATASETS, find_folders


def lay_out(root, images, masks, photo="1.jpg"):
    for folder, file in ((images, photo), (masks, "1.png")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / file).touch()


AS_PUBLISHED = {
    "DUTS-TE": ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    "DUT-OMRON": ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    "HKU-IS": ("HKU-IS/imgs", "HKU-IS/gt"),
    "ECSSD": ("images", "ground_truth_mask"),
    "PASCAL-S": ("datasets/imgs/pascal", "datasets/masks/pascal"),
}

# Each layout was seen in a public repository.
RE_PACKAGED = [
    ("DUTS-TE", "DUTS/DUTS-TE/DUTS-TE-Image", "DUTS/DUTS-TE/DUTS-TE-Mask"),
    ("DUTS-TE", "DUTS-TE/DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE/DUTS-TE-Mask"),
    ("DUTS-TE", "DUTS/Test/Image", "DUTS/Test/Mask"),
    ("DUTS-TE", "DUTS-TE/Test/images", "DUTS-TE/Test/masks"),
    ("DUTS-TE", "DUTS/DUTS-TE/images", "DUTS/DUTS-TE/gt-masks"),
    ("DUT-OMRON", "DUT_OMRON/DUT-OMRON-image", "DUT_OMRON/pixelwiseGT-new-PNG"),
    (
        "DUT-OMRON",
        "DUTS-OMRON/DUT-OMRON-image/DUT-OMRON-image",
        "DUTS-OMRON/DUT-OMRON-gt-pixelwise.zip/pixelwiseGT-new-PNG",
    ),
    ("DUT-OMRON", "DUT-OMRON-image/DUT-OMRON-image", "DUT-OMRON-image/pixelwiseGT-new-PNG"),
    ("DUT-OMRON", "DUT-OMRON/DUT-OMRON/Img", "DUT-OMRON/DUT-OMRON/GT"),
    ("DUT-OMRON", "DUT-O/imgs", "DUT-O/gt"),
    ("HKU-IS", "HKU-IS/HKU-IS/Img", "HKU-IS/HKU-IS/GT"),
    ("HKU-IS", "HKU_IS/imgs", "HKU_IS/gt"),
    ("ECSSD", "ECSSD/images", "ECSSD/ground_truth_mask"),
    ("ECSSD", "ECSSD/Image", "ECSSD/Mask"),
    ("ECSSD", "ecssd/img", "ecssd/gt"),
    ("PASCAL-S", "PASCAL-S/datasets/imgs/pascal", "PASCAL-S/datasets/masks/pascal"),
    ("PASCAL-S", "PASCAL-S/image", "PASCAL-S/mask"),
    ("PASCAL-S", "PASCALS/Imgs", "PASCALS/GT"),
    ("PASCAL-S", "PASCAL-S/Imgs", "PASCAL-S/Imgs"),
]


@pytest.mark.parametrize(
    ("name", "images", "masks"), [(name, *folders) for name, folders in AS_PUBLISHED.items()] + RE_PACKAGED
)
def test_a_dataset_is_found_and_not_mistaken_for_another(tmp_path, name, images, masks):
    lay_out(tmp_path, images, masks)
    assert find_folders(name, tmp_path) == (tmp_path / images, tmp_path / masks)
    others = [
        other for other in DATASET_NAMES if other != name and "/" in images and images.split("/")[0] != "datasets"
    ]
    for other in others:
        with pytest.raises(CollectionError):
            find_folders(other, tmp_path)


@pytest.mark.parametrize("name", DATASET_NAMES)
def test_all_datasets_in_one_folder_are_told_apart(tmp_path, name):
    for other, folders in AS_PUBLISHED.items():
        lay_out(tmp_path / other, *(folder.removeprefix(f"{other}/") for folder in folders))
    lay_out(tmp_path, "DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask")
    images, masks = find_folders(name, tmp_path)
    assert images.relative_to(tmp_path).parts[0] == masks.relative_to(tmp_path).parts[0] == name


def test_the_published_folders_come_before_others_of_a_usual_name(tmp_path):
    lay_out(tmp_path, *AS_PUBLISHED["DUTS-TE"])
    lay_out(tmp_path, "DUTS-TE/images", "DUTS-TE/masks")
    assert find_folders("DUTS-TE", tmp_path) == (tmp_path / "DUTS-TE/DUTS-TE-Image", tmp_path / "DUTS-TE/DUTS-TE-Mask")


def test_a_dataset_unpacked_beside_others_is_not_mistaken_for_them(tmp_path):
    lay_out(tmp_path, *AS_PUBLISHED["ECSSD"])
    lay_out(tmp_path, *AS_PUBLISHED["HKU-IS"])
    assert find_folders("HKU-IS", tmp_path) == (tmp_path / "HKU-IS/imgs", tmp_path / "HKU-IS/gt")
    assert find_folders("ECSSD", tmp_path) == (tmp_path / "images", tmp_path / "ground_truth_mask")


def test_the_folder_of_the_dataset_itself_may_be_given(tmp_path):
    lay_out(tmp_path, "anything/Imgs", "anything/GT", photo="1.png")
    assert find_folders("HKU-IS", tmp_path / "anything") == (tmp_path / "anything/Imgs", tmp_path / "anything/GT")


def test_the_training_half_of_duts_is_not_mistaken_for_its_test_half(tmp_path):
    lay_out(tmp_path, "DUTS/DUTS-TR/DUTS-TR-Image", "DUTS/DUTS-TR/DUTS-TR-Mask")
    with pytest.raises(CollectionError):
        find_folders("DUTS-TE", tmp_path)


def test_the_published_counts():
    assert {name: dataset.count for name, dataset in DATASETS.items()} == {
        "DUTS-TE": 5019,
        "DUT-OMRON": 5168,
        "HKU-IS": 4447,
        "ECSSD": 1000,
        "PASCAL-S": 850,
    }


def test_a_missing_dataset_is_refused_with_the_expected_folders(tmp_path):
    (tmp_path / "ECSSD/images").mkdir(parents=True)  # empty
    with pytest.raises(CollectionError) as caught:
        find_folders("ECSSD", tmp_path)
    assert all(part in str(caught.value) for part in (str(tmp_path), "ECSSD", "images", "ground_truth_mask", "--masks"))
    with pytest.raises(CollectionError, match="this folder does not exist"):
        find_folders("ECSSD", tmp_path / "nowhere")
