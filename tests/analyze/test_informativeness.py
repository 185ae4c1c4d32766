import math

import pytest
import torch
from torch import nn

from ordinate.analyze.informativeness import informativeness
from ordinate.analyze.latent_distances import family_of
from ordinate.data.latent_models import CubeProblem, FactorProblem, MixtureProblem, PairsProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.contrastive_pairs import ContrastivePairs
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.hidden_coordinate import HiddenCoordinate


def factors(*singular: float) -> FactorModel:
    return FactorModel.of_loadings(FactorProblem.draw(5, singular, generator("kappa")).loadings)


def test_near_the_model_it_is_the_ratio_of_information() -> None:
    """Away from its span a factor of size s changes x by s^2 / (1 + s^2) of what it changes (x, z) by."""
    report = informativeness(factors(0.5), radii=(1e-3,), draws=5)
    assert report.kappa == pytest.approx(math.sqrt(1.25 / 0.25), rel=1e-3)
    assert report.mean <= report.kappa and report.radius == 1e-3 and float(report.direction.norm()) == pytest.approx(1.0)


def test_a_weaker_factor_is_less_informative() -> None:
    strong, weak = (informativeness(factors(1.0, size), draws=10).kappa for size in (0.5, 0.125))
    assert weak > 3 * strong


def test_total_variation_from_samples_agrees_roughly_and_the_weak_condition_differs() -> None:
    model = factors(1.0, 0.5)
    exact = informativeness(model, draws=10, radii=(0.1,))
    sampled = informativeness(model, draws=10, radii=(0.1,), distance="tv", samples=5000)
    weak = informativeness(model, draws=10, radii=(0.1,), distance="tv", weak=True, samples=5000)
    assert sampled.kappa == pytest.approx(exact.kappa, rel=0.2) and sampled.distance == "tv"
    assert weak.weak and weak.kappa != sampled.kappa


def test_aligning_undoes_rotations_and_permutations() -> None:
    model = factors(2.0, 1.0)
    family = family_of(model, 100, generator(0))
    turned = FactorModel.of_loadings(model.loadings_ @ torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q)
    assert family.joint(turned.align_to(model), "hellinger") < 1e-6 and family.observed(turned, "hellinger") < 1e-6
    mixture = GaussianMixturePretrainer.of_centres(MixtureProblem.draw(3, 4, 2, generator(1)).centres)
    family = family_of(mixture, 100, generator(0))
    shuffled = GaussianMixturePretrainer.of_centres(mixture.centres_.flip(0))
    for kind in ("hellinger", "tv"):
        assert family.joint(shuffled.align_to(mixture), kind) == 0.0 and family.observed(shuffled, kind) == pytest.approx(0.0, abs=1e-7)


def test_closed_forms_agree_with_samples() -> None:
    for model in (
        GaussianMixturePretrainer.of_centres(MixtureProblem.draw(3, 4, 2, generator(1)).centres),
        ContrastivePairs.of_theta(PairsProblem.draw(4, 2, generator(2)).theta),
        factors(1.0, 0.5),
    ):
        family = family_of(model, 50_000, generator(3))
        other = family.make(family.parameters + 0.05 * torch.randn(family.parameters.shape, dtype=torch.float64))
        squared, variation = family.joint(other, "hellinger") ** 2, family.joint(other, "tv")
        assert squared <= variation <= math.sqrt(2 * squared)
        assert family.observed(other, "hellinger") <= family.joint(other, "hellinger") * (1 + 0.05) + 1e-9 or isinstance(
            model, ContrastivePairs
        )
        assert family.observed(other, "tv") <= math.sqrt(2) * family.observed(other, "hellinger") * 1.05


def test_well_separated_mixtures_are_informative_and_contrastive_models_less_so_with_weak_features() -> None:
    mixture = GaussianMixturePretrainer.of_centres(MixtureProblem.draw(3, 3, 2, generator(1), separation=8.0).centres)
    assert informativeness(mixture, draws=5, samples=4000).kappa == pytest.approx(1.0, abs=0.1)
    strong, weak = (
        informativeness(ContrastivePairs.of_theta(PairsProblem.draw(4, 2, generator(2), signal=signal).theta), draws=5, samples=4000).kappa
        for signal in (1.2, 0.3)
    )
    assert weak > 2 * strong


def test_nothing_observed_tells_the_coordinates_apart() -> None:
    model = HiddenCoordinate().fit(CubeProblem(4, 1).inputs(10, generator(0)))
    report = informativeness(model, draws=3)
    assert report.kappa == math.inf and set(report.by_radius.values()) == {math.inf}


def test_what_cannot_be_measured_is_refused() -> None:
    model = factors(1.0)
    for arguments in ({"radii": ()}, {"radii": (0.0,)}, {"draws": 0}, {"distance": "kl"}, {"weak": True}, {"samples": 0}):
        with pytest.raises(InputError):
            informativeness(model, **arguments)
    with pytest.raises(InputError, match="kind of model"):
        informativeness(nn.Linear(2, 2))
    first, second, signs = PairsProblem.draw(4, 2, generator(2)).pairs(20, generator(3))
    with pytest.raises(InputError, match="linear encoders"):
        informativeness(ContrastivePairs(encoder=nn.Sequential(nn.Linear(4, 1)), steps=1).fit(first, second, signs))
