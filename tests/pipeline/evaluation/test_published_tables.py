"""The table says whose figures they are, where they are from, and when they can't be compared."""

from pipeline.evaluation.published_figures import Published, beside_published
from pipeline.evaluation.published_tables import published_part
from pipeline.evaluation.summary import SCALARS

OURS = dict.fromkeys(SCALARS, 0.5) | {"mae": 0.0214}


def document(*models, dataset="ECSSD", images=1000):
    return {"name": dataset, "metrics": OURS, "published": beside_published(dataset, OURS, images, models)}


def model(name="BiRefNet", dataset="ECSSD", **figures):
    return Published(name=name, source="arXiv:1", figures={dataset: figures or {"mae": 0.02, "max_e": 0.6}})


def test_ours_come_first_and_each_published_figure_has_its_difference():
    lines = published_part([document(model(), model("B", mae=0.03))]).splitlines()
    assert lines[0] == "|  |  | MAE ↓ | max E ↑ |"
    assert lines[2:5] == [
        "| ECSSD | ours | 0.0214 | 0.5000 |",
        "| ECSSD | BiRefNet | 0.020 (+0.0014) | 0.600 (-0.1000) |",
        "| ECSSD | B | 0.030 (-0.0086) | – |",
    ]
    assert lines[-2:] == ["- BiRefNet: arXiv:1", "- B: arXiv:1"]


def test_it_says_whether_the_papers_own_figures_are_among_them():
    without, among = published_part([document(model())]), published_part([document(model("SOD-diffusion"))])
    said = "None of these models is SOD-diffusion, whose own figures were not at hand"
    assert said in without
    assert said not in among


def test_another_number_of_images_than_published_is_said():
    assert "can't be compared" not in published_part([document(model())])
    page = published_part(
        [document(model(), images=3), document(model(dataset="HKU-IS"), dataset="HKU-IS", images=4447)]
    )
    assert "**ECSSD was measured on 3 images, and published figures are of 1000: they can't be compared.**" in page
    assert "HKU-IS was measured" not in page


def test_datasets_of_which_nothing_is_published_are_left_out():
    assert "HKU-IS" not in published_part([document(model()), document(model(), dataset="HKU-IS")])
    assert published_part([document(dataset="HKU-IS")]).endswith("has no figures of these datasets.\n")
