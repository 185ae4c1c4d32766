import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.analyze.rate_instances import FactorInstance, Grid, MixtureInstance, PairsInstance, nested_products
from ordinate.analyze.rate_study import RateStudy, RateTable
from ordinate.bench.pretraining import looped_risks
from ordinate.ground.errors import InputError


@given(st.sets(st.integers(1, 12), min_size=1, max_size=5))
def test_nested_products_are_those_of_every_prefix(chosen: set[int]) -> None:
    x, y, sizes = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64), sorted(chosen)
    grams, crossed = nested_products(x, y, sizes)
    for size, gram, cross in zip(sizes, grams, crossed, strict=True):
        torch.testing.assert_close(gram, x[:size].mT @ x[:size])
        torch.testing.assert_close(cross, x[:size].mT @ y[:size])


def test_all_cells_at_once_are_every_cell_by_itself() -> None:
    instance = FactorInstance(8, (2.0, 1.5))
    grid = instance.grid((20, 200), (10, 30, 100), 2, 0)
    two_phase, alone = looped_risks(instance, (20, 200), (10, 30, 100), 2, 0)
    torch.testing.assert_close(grid.two_phase, two_phase, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(grid.baselines["supervised"], alone, rtol=1e-7, atol=1e-10)


def test_risks_are_excess_risks_and_floors_lie_below() -> None:
    for instance in (FactorInstance(6, (2.0,)), PairsInstance(4, 1), MixtureInstance(4, 3, 2, tested=200)):
        table = RateStudy(instance, (20, 80), (60, 600), reps=2).run()
        grid = table.grid
        assert grid.two_phase.shape == (2, 2, 2) and set(grid.baselines) == set(instance.baselines)
        assert all(bool((each >= -1e-12).all()) for each in (grid.two_phase, grid.oracle, grid.floor, *grid.baselines.values()))
        assert bool((grid.floor[:, :, None] <= grid.two_phase + 1e-9).all()) or isinstance(instance, MixtureInstance)
        rows = table.rows()
        assert [(row["m"], row["n"]) for row in rows] == [(60, 20), (60, 80), (600, 20), (600, 80)]
        assert rows[1]["two-phase"] == pytest.approx(float(grid.two_phase[:, 0, 1].mean()))


def test_the_same_seed_gives_the_same_risks() -> None:
    one, other, third = (RateStudy(FactorInstance(5, (2.0,)), (10,), (50,), 2, seed).run().grid.two_phase for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)


def made(p: float = 1.0, q: float = 0.5, floor: float = 0.0, reps: int = 5) -> RateTable:
    ms, ns = (100, 200, 400, 800, 10**7), (10, 20, 40, 80, 10**7)
    noise = 1 + 0.01 * torch.randn(reps, len(ms), len(ns), dtype=torch.float64)
    by_m, by_n = torch.tensor(ms, dtype=torch.float64) ** -p + floor, torch.tensor(ns, dtype=torch.float64) ** -q
    two_phase = (by_m[:, None] + by_n) * noise
    alone = (10 * by_n**2).expand(reps, -1)
    return RateTable("made", Grid(ms, ns, two_phase, by_n.expand(reps, -1), {"supervised": alone}, by_m.expand(reps, -1)))


def test_slopes_are_found_where_no_floor_covers_them() -> None:
    table = made(p=0.5, q=0.5)
    for axis in ("m", "n"):
        slope = table.slope(axis)
        assert slope.value == pytest.approx(-0.5, abs=0.05) and slope.low < slope.value < slope.high
        assert len(slope.sizes) == 4 and slope.fixed_share < 0.2  # the largest size is left out: there the other term is as large
    assert table.baseline_slope("oracle").value == pytest.approx(-0.5)
    assert table.baseline_slope("supervised", 20).value == pytest.approx(-1.0)


def test_a_slope_through_the_floor_is_refused() -> None:
    with pytest.raises(InputError, match="raise the largest m"):
        made(floor=0.5).slope("n")
    with pytest.raises(InputError):
        made().slope("k")
    with pytest.raises(InputError):
        made().baseline_slope("supervised", 100)
    with pytest.raises(InputError):
        made().baseline_slope("nobody")


def test_the_crossover_is_where_two_phases_become_better() -> None:
    ms = (10, 100, 1000)
    risks = torch.tensor([[[1.0], [0.1], [0.01]]], dtype=torch.float64)
    grid = Grid(ms, (5,), risks, risks[:, 0], {"supervised": torch.tensor([[0.05]], dtype=torch.float64)}, risks[:, :, 0])
    assert RateTable("made", grid).crossover() == pytest.approx(200.0)
    with pytest.raises(InputError, match="one of them is 0"):
        RateTable("made", Grid(ms, (5,), 0 * risks, risks[:, 0], grid.baselines, grid.floor)).crossover()


def test_studies_of_nothing_are_refused() -> None:
    for ns, ms, reps in (((), (1,), 1), ((1,), (), 1), ((0,), (1,), 1), ((1,), (0,), 1), ((1, 1), (1,), 1), ((1,), (1,), 0)):
        with pytest.raises(InputError):
            RateStudy(FactorInstance(), ns, ms, reps)
    with pytest.raises(InputError, match="nested sizes"):
        nested_products(torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64), (2, 4))
