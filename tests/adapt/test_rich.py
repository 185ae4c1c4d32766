import pytest
import torch

from ordinate.adapt.rich import RichRepresentation
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.objectives.classification import Classification
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

IMAGES, LABELS = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
SOURCE = TensorSource(image=IMAGES, label=LABELS)
RECIPE = Recipe(steps=6, lr=1e-2, schedule="constant")


def _make() -> MLP:
    return MLP(num_classes=3, image_size=4, hidden=[6], num_features=5)


@pytest.mark.parametrize("mode", ["seeds", "snapshots"])
def test_members_are_trained_and_laid_side_by_side(mode: str) -> None:
    rich = RichRepresentation(_make, 3, mode=mode).fit(SOURCE, Classification(), RECIPE, batch_size=16)
    z = rich.transform(IMAGES)
    assert z.shape == (40, 15) and len(rich.members) == 3
    torch.testing.assert_close(z[:, 5:10], rich.members[1].embed(IMAGES).detach())


def test_a_student_is_distilled_and_keeps_its_own_size() -> None:
    rich = RichRepresentation(_make, 2).fit(SOURCE, Classification(), RECIPE)
    student = _make()
    before = student.embed(IMAGES).detach()
    assert rich.distil(IMAGES, student, RECIPE) is student
    assert student.embed(IMAGES).shape == before.shape and not torch.allclose(student.embed(IMAGES), before)


def test_it_is_fine_tuned_in_two_stages() -> None:
    rich = RichRepresentation(_make, 2).fit(SOURCE, Classification(), RECIPE)

    def train(classifier: torch.nn.Module, number: int) -> None:
        fit(classifier, Classification(), Shuffled(SOURCE, 16, number), RECIPE, seed=number)

    classifier = rich.two_stage_finetune(IMAGES, LABELS, train)
    assert classifier(IMAGES).shape == (40, 3) and not classifier.training


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="call fit first"):
        RichRepresentation(_make, 2).transform(IMAGES)
    with pytest.raises(InputError, match="need 2 seeds, not 3"):
        RichRepresentation(_make, 2, [1, 2, 3])
    with pytest.raises(InputError, match="need 1 seeds, not 2"):
        RichRepresentation(_make, 2, [1, 2], mode="snapshots")
    with pytest.raises(InputError, match="unknown mode"):
        RichRepresentation(_make, 2, mode="boost")
    with pytest.raises(InputError, match="all different"):
        RichRepresentation(_make, 2, [1, 1]).fit(SOURCE, Classification(), RECIPE)
