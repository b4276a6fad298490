"""What options say of themselves."""

from dataclasses import MISSING, dataclass, field
from typing import Annotated, Literal

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from jobs.commands import COMMANDS
from pipeline.option_texts import about, joined, options_of, part


@dataclass(frozen=True, kw_only=True)
class Inner:
    """What a part is
    about."""

    many: tuple[int, ...] = (1, 2)
    """How many,
    and why."""
    kinds: tuple[Literal["a", "b"], ...] = ()  # of which kinds


@dataclass(frozen=True, kw_only=True)
class Outer:
    """First.

    Second."""

    place: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
    """Where."""
    named: Annotated[str, tyro.conf.arg(name="other-name")] = "x"
    least: int | None = None
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, kw_only=True)
class Derived(Outer):
    more: float = 0.5
    """Of its own."""


def test_options_have_names_types_defaults_texts_and_sections():
    options = {option.name: option for option in options_of(Derived)}
    assert list(options) == ["place", "named", "least", "many", "kinds", "more"]
    assert (options["place"].flag, options["place"].is_place, options["place"].default) == ("PLACE", True, MISSING)
    assert (options["place"].text, options["more"].text, options["named"].text) == ("Where.", "Of its own.", "")
    assert (options["named"].flag, options["named"].is_place) == ("other-name", False)
    assert (options["least"].kind, options["many"].kind, options["kinds"].kind) == (int, int, str)
    assert (options["many"].text, options["kinds"].text) == ("How many, and why.", "Of which kinds.")
    assert (options["many"].takes_many, options["many"].choices, options["kinds"].choices) == (True, (), ("a", "b"))
    assert {name for name, option in options.items() if option.section == "inner"} == {"many", "kinds"}
    assert (about(Outer), about(part(Outer, "inner"))) == ("First.\n\nSecond.", "What a part is about.")


@given(st.lists(st.lists(st.sampled_from(["one", "two,", "3", "(four)", "-"]), min_size=1), min_size=1))
def test_line_breaks_of_the_source_make_no_difference(paragraphs):
    broken = "\n\n    ".join("\n    ".join(words) for words in paragraphs)
    assert joined(broken) == "\n\n".join(" ".join(words) for words in paragraphs)


def test_lines_that_are_set_in_stay_lines():
    text = """A list:
      one
      two, which
        goes on

    and its end.
    """
    assert joined(text) == "A list:\n  one\n  two, which\n    goes on\n\nand its end."


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.config])
def test_every_option_of_every_command_has_a_text_that_says_more_than_its_name(name):
    options = options_of(COMMANDS[name].options_class())
    assert [option.name for option in options if len(set(option.text.lower().split()) - {option.name}) < 3] == []
