"""Material: values that say what there is to draw from."""

from pipeline.embedded.material import Material


def test_groups_of_a_kind_keep_their_order_and_lack_those_without_pictures(make_group, make_disc):
    disc = make_disc()
    groups = tuple(
        make_group(kind, *pictures, package=package)
        for kind, package, pictures in [
            ("cutout", "b", [disc]), ("photo", "c", [disc]), ("cutout", "d", []), ("cutout", "a", [disc])
        ]
    )  # fmt: skip
    assert [group.source.package for group in Material(groups=groups).of("cutout")] == ["b", "a"]
