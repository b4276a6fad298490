"""Which image a name means is unambiguous for all names that belong together, or is refused with advice that works."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.release.image_names import ImageNames, without_suffix


def key(number):
    return f"{number:012d}"


def renumbered(files):
    """Images whose files have names like keys: number of the key → number in the name of the file."""
    return ImageNames({key(number): f"{file:012d}.jpg" for number, file in files.items()})


def find(names, given, wanted, **options):
    return names.find({name: (without_suffix(name),) for name in given}, {key(number) for number in wanted}, **options)


RENUMBERED = st.dictionaries(st.integers(1, 9), st.integers(1, 9), min_size=1).filter(
    lambda files: len(set(files.values())) == len(files)
)


@given(RENUMBERED, st.booleans(), st.data())
def test_a_set_of_names_is_read_as_it_was_meant_or_refused_and_never_otherwise(files, by_key, data):
    """Of any part of the images, named in either way, together with files of images that the collection lacks."""
    named = data.draw(st.lists(st.sampled_from(sorted(files)), unique=True))
    wanted = data.draw(st.sets(st.sampled_from(sorted(files))))
    meant = {f"{key(number if by_key else files[number])}.png": key(number) for number in named}
    others = [f"{key(number)}.png" for number in data.draw(st.sets(st.integers(20, 30)))]
    try:
        found = find(renumbered(files), [*meant, *others], wanted)
    except ValueError:
        other_names = {f"{key(files[number] if by_key else number)}.png" for number in files}
        assert meant.keys() <= other_names, "a name that only one reading knows decides"
    else:
        assert found == {name: image for name, image in meant.items() if int(image) in wanted}


@given(st.sets(st.integers(1, 99), min_size=2), st.booleans(), st.data())
def test_what_the_refusal_advises_works(numbers, by_key, data):
    """Where every key is also a file name: whoever follows it, for names of either kind, has the right images."""
    files = dict(zip(sorted(numbers), data.draw(st.permutations(sorted(numbers))), strict=True))
    named = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=1, unique=True))
    names = renumbered(files)
    plain = [f"{key(number if by_key else files[number])}.png" for number in named]
    assume(refusal(names, plain, files))
    advised = [f"{key(number)}.key.png" if by_key else f"{key(files[number])}.jpg.png" for number in named]
    assert re.search(r"like this: \d{12}\.key\.png\. .* suffix: \d{12}\.jpg\.png$", refusal(names, plain, files))
    assert find(names, advised, files) == dict(zip(advised, map(key, named), strict=True))


def refusal(names, given, wanted):
    try:
        find(names, given, wanted)
    except ValueError as error:
        return str(error)
    return ""


SUBSET = renumbered({1: 139, 2: 285, 139: 632})


def test_names_that_fit_only_as_files_are_files_also_where_one_is_a_key():
    assert find(SUBSET, ["000000000139.png", "000000000285.png"], {1, 2, 139}) == {
        "000000000139.png": key(1),
        "000000000285.png": key(2),
    }


def test_names_that_fit_only_as_keys_are_keys():
    assert find(SUBSET, ["000000000139.png", "000000000002.png"], {1, 2, 139}) == {
        "000000000139.png": key(139),
        "000000000002.png": key(2),
    }


def test_a_file_of_an_image_that_does_not_count_is_not_of_one_that_has_its_name_as_key():
    assert find(SUBSET, ["000000000139.png", "000000000285.png"], {139}) == {}


def test_names_that_fit_both_ways_are_refused():
    with pytest.raises(
        ValueError, match=r"^000000000139.png could be of 000000000139, whose key.*or of 000000000001, whose file"
    ):
        find(SUBSET, ["000000000139.png"], {1, 2, 139})


def test_names_of_both_kinds_are_refused_where_files_are_named_like_keys():
    """The second one may be the file of an image that the collection lacks."""
    with pytest.raises(
        ValueError, match=r"^000000000002.png is the key of an image and 000000000632.png the name of another"
    ):
        find(SUBSET, ["000000000632.png", "000000000002.png"], {1, 2, 139})
    marked = find(SUBSET, ["000000000632.png", "000000000002.key.png"], {1, 2, 139})
    assert marked == {"000000000632.png": key(139), "000000000002.key.png": key(2)}
    whole = find(SUBSET, ["000000000632.png", "000000000002.jpg.png"], {1, 2, 139})
    assert whole == {"000000000632.png": key(139)}


def test_names_of_both_kinds_are_fine_where_no_file_is_named_like_a_key():
    names = ImageNames({key(1): "cat.jpg", key(2): "a/dog.jpg", key(3): "000000000003.jpg"})
    given = ["000000000001.png", "dog.png", "000000000003.png"]
    assert find(names, given, {1, 2, 3}) == dict(zip(given, map(key, (1, 2, 3)), strict=True))


def test_what_is_known_to_be_keys_is_read_as_keys_alone():
    assert find(SUBSET, ["000000000139.png", "000000000632.png"], {1, 2, 139}, are_keys=True) == {
        "000000000139.png": key(139)
    }


@pytest.mark.parametrize("last", ["1.png", "000000000002.png", "000000000009.png"])
def test_files_of_one_name_in_several_folders_are_told_by_folder_or_key(last):
    names = ImageNames({key(1): f"a/{without_suffix(last)}.jpg", key(2): f"b/{without_suffix(last)}.jpg"})
    assert find(names, [f"b/{last}", f"a/{last}"], {1, 2}) == {f"b/{last}": key(2), f"a/{last}": key(1)}
    marked = [f"x/{key(1)}.key.png", f"b/{last}"]
    assert find(names, marked, {1, 2}) == dict(zip(marked, (key(1), key(2)), strict=True))


@pytest.mark.parametrize(
    ("last", "advised"), [("1.png", "000000000001.png"), ("000000000009.png", "000000000001.key.png")]
)
def test_a_name_of_files_in_several_folders_is_refused_with_advice_that_works(last, advised):
    names = ImageNames({key(1): f"a/{without_suffix(last)}.jpg", key(2): f"b/{without_suffix(last)}.jpg"})
    with pytest.raises(
        ValueError, match=r"could be of 0{11}1 or of 0{11}2.*by the keys of the release: (\S+)$"
    ) as refused:
        find(names, [last], {1, 2})
    assert str(refused.value).endswith(f" {advised}")
    assert find(names, [advised], {1, 2}) == {advised: key(1)}


def test_a_name_of_several_images_that_do_not_count_is_of_none():
    names = ImageNames({key(1): "a/1.jpg", key(2): "b/1.jpg", key(3): "c/2.jpg"})
    assert find(names, ["1.png", "2.png"], {3}) == {"2.png": key(3)}


def test_a_refusal_obeys_no_terminal_and_stays_short():
    names = ImageNames({key(1): f"a/\x1b[2J{'x' * 300}.jpg", key(2): f"b/\x1b[2J{'x' * 300}.jpg"})
    said = refusal(names, [f"\x1b[2J{'x' * 300}.png"], {1})
    assert "\x1b" not in said
    assert len(said) < 400
