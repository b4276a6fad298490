"""The embedded model's card: figures are written where they belong, and those in it are what is measured."""

import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.embedded import model_card
from pipeline.embedded.model_card import BEGIN, END, with_measured, write_card
from pipeline.errors import ConfigError

words = st.text(st.characters(exclude_characters="<>-", exclude_categories=["Cs"]))


@given(words, words, words, words)
def test_only_what_is_between_the_marks_is_written_anew(before, old, after, new):
    page = f"{before}{BEGIN}{old}{END}{after}"
    assert with_measured(page, new) == f"{before}{BEGIN}\n{new}\n{END}{after}"
    assert with_measured(with_measured(page, "other"), new) == with_measured(page, new)


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_card_without_marks_is_refused_before_any_work(tmp_path, page):
    (tmp_path / "README.md").write_text(page)
    with pytest.raises(ConfigError, match="to write the figures between"):
        write_card("nano", tmp_path / "nowhere", tmp_path / "README.md")


def row_of(page, steps):
    """Cells of the row of so many steps."""
    (line,) = re.findall(rf"^\| 10 members × {steps} steps .*$", page, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def card(request, tmp_path, monkeypatch):
    """Measures with one step per member; gives the page that it wrote."""

    def write(sample):
        monkeypatch.setattr(model_card, "STEPS", (1,))
        shutil.copy(request.config.rootpath / "model/nano/README.md", tmp_path)
        measured = write_card("nano", sample, tmp_path / "README.md")
        page = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert measured in page
        for name in ("risk_coverage", "examples", "failures"):
            with Image.open(tmp_path / f"{name}.png") as picture:
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
        return page

    return write


@pytest.mark.thorough
def test_a_card_is_written_from_what_is_measured_now(request, card, tmp_path, monkeypatch):
    sample, few = request.config.rootpath / "pipeline/sample", tmp_path / "sample"
    for folder in ("images", "masks"):
        (few / folder).mkdir(parents=True)
        for path in sorted((sample / folder).glob("*.*g"))[:4]:
            shutil.copy(path, few / folder)
    shutil.copy(sample / "masks/outlines.json", few / "masks")
    monkeypatch.setattr(model_card, "MEMBERS", 3)
    assert re.search(r"^\| 3 members × 1 steps \| 0\.\d{3} \| 0\.\d{3} \|", card(few), re.MULTILINE)


@pytest.mark.thorough
def test_the_cards_figures_are_those_that_are_measured(request, card):
    """One row of the table, by the function that wrote all of them: the time aside, which is the machine's."""
    root = request.config.rootpath
    found, stated = card(root / "pipeline/sample"), (root / "model/nano/README.md").read_text(encoding="utf-8")
    for now, then in zip(row_of(found, 1)[1:5], row_of(stated, 1)[1:5], strict=True):
        assert float(now) == pytest.approx(float(then), abs=0.0021)  # other CPUs, other last bits
