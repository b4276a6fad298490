"""What a sample can prove, before anybody begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.config import AuditConfig
from pipeline.audit.draw import raters_of
from pipeline.audit.plan import AuditPlan, Drawn
from pipeline.audit.proofs.bounds import Stratum, at_least_good
from pipeline.audit.proofs.prospects import prospects, what_n_proves

STRATA = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3000), min_size=1)


def plan_of(population, images, **options):
    sample = tuple(Drawn(key=f"{place:012d}", stratum="all", raters=("rater-1",)) for place in range(images))
    return AuditPlan(
        name="masks",
        version="1.0.0",
        sha256="ab" * 32,
        population=population,
        strata={"all": population},
        config=AuditConfig(images=images, **options),
        sample=sample,
    )


@given(STRATA)
def test_fewer_good_masks_in_the_sample_never_prove_more(strata):
    for found in prospects(strata, AuditConfig()):
        shares = list(found.at_least.values())
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= share <= 1 for share in shares)


@given(st.integers(1, 5000))
def test_a_census_without_errors_proves_everything(population):
    (found,) = prospects({"all": population}, AuditConfig(), sizes=[population + 7], shares=[1.0])
    assert (found.images, found.at_least) == (population, {1.0: 1.0})


def test_by_hand_the_joint_bound_of_three_ious():
    (found,) = prospects({"all": 31}, AuditConfig(), sizes=[12], shares=[0.9])
    # 90 % of 12 leaves room for one bad mask; each of three IoUs has a third of 5 %.
    at_least = at_least_good({"all": Stratum(population=31, drawn=12, bad=1)}, 0.05 / 3)
    assert at_least == 21
    assert found.at_least[0.9] == pytest.approx(21 / 31)


@pytest.mark.parametrize(("raters", "overlap"), [(2, 0.25), (2, 0.0), (3, 1.0), (1, 0.25)])
def test_images_that_two_raters_judge_cost_twice(raters, overlap):
    (found,) = prospects({"all": 999}, AuditConfig(raters=raters, overlap=overlap), sizes=[100])
    names = tuple(f"rater-{number}" for number in range(1, raters + 1))
    needed = raters_of([str(place) for place in range(100)], names, overlap, "seed")
    assert found.judgements == sum(len(each) for each in needed.values())
    assert found.hours == pytest.approx((found.judgements / 240, found.judgements / 120))


@pytest.mark.parametrize("population", [1, 31, 5000, 10**6, 10**9])
def test_the_table_fits_into_80_columns_and_marks_the_plan(population):
    lines = what_n_proves(plan_of(population, min(population, 400), raters=20, overlap=1.0))
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines if line.startswith("*") and "planned" not in line] == [
        f"{min(population, 400)}"
    ]
    assert f"all {population:,} masks" in lines[1]


def test_the_table_for_four_hundred_of_a_hundred_thousand():
    lines = what_n_proves(plan_of(100_000, 400))
    assert "*    400   98.9 %   97.3 %   95.9 %   94.6 %   92.1 %   86.3 %   2.1 to 4.2" in lines
