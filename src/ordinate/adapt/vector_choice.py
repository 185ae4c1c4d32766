r"""Which task vectors to compose, where only b of n can be kept in memory.

- at random;
- by features: those whose data set's mean feature under theta_0 is most similar, by cosine, to the target's;
- by gradient: those of the largest :math:`\lVert \partial L/\partial\lambda_i \rVert_1` at :math:`\lambda = 0`;
- by block: for every block by itself the b vectors of the largest :math:`\lvert \partial L/\partial\lambda_{ij} \rvert`, so that b virtual vectors are put together from blocks of different origin.

One backward pass to theta_0 gives the gradients for all vectors at once, :math:`\partial L/\partial\lambda_{ij} = \langle \partial L/\partial\theta^{(j)}, \tau_i^{(j)} \rangle`: the vectors may be read one after the other.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5.1 and appendix C.4.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.data.batches import Source
from ordinate.ground.errors import InputError, some
from ordinate.ground.seeds import generator

__all__ = [
    "choose_at_random",
    "choose_blocks_by_gradient",
    "choose_by_features",
    "choose_by_gradient",
    "coefficient_gradients",
    "mean_feature",
]

_AT_ONCE = 512


def coefficient_gradients(model: nn.Module, bank: TaskBank, loss: Callable[[nn.Module], Tensor]) -> Float[Tensor, "vectors blocks"]:
    """The gradients of a loss in the coefficients of all vectors and blocks at lambda = 0, (n, m), by one backward pass; blocks in the order of the model's floating-point parameters.

    Args:
        model: theta_0; its own gradients are not touched.
        bank: n vectors.
        loss: of the model, a scalar; read as it stands, a sum of several calls bounds memory.

    Raises:
        InputError: vectors that lack a block.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    lacking = [name for name in parameters if name not in next(iter(bank.values()))]
    if lacking:
        raise InputError(f"the task vectors lack {some(lacking)}")
    wanted = {name: parameter.requires_grad for name, parameter in parameters.items()}
    model.requires_grad_(True)
    try:
        found = torch.autograd.grad(loss(model), list(parameters.values()), allow_unused=True)
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(wanted[name])
    rows = []
    for vector in bank.values():
        products = [
            torch.zeros((), device=parameter.device) if gradient is None else (gradient * vector[name].to(gradient)).sum()
            for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
        ]
        rows.append(torch.stack(products))
    return torch.stack(rows)


def _check_budget(budget: int, bank: TaskBank) -> None:
    if not 1 <= budget <= len(bank):
        raise InputError(f"a budget lies between 1 and the {len(bank)} vectors of the bank, not {budget}")


def _largest(bank: TaskBank, scores: Tensor, budget: int) -> TaskBank:
    names = list(bank)
    return TaskBank({names[row]: bank[names[row]] for row in scores.topk(budget).indices.tolist()})


def choose_at_random(bank: TaskBank, budget: int, seed: int = 0) -> TaskBank:
    """b vectors drawn by a seed.

    Raises:
        InputError: a budget outside 1 to n.
    """
    _check_budget(budget, bank)
    return _largest(bank, torch.rand(len(bank), generator=generator(seed, "budget")), budget)


@torch.no_grad()
def mean_feature(encoder: nn.Module, source: Source) -> Float[Tensor, " dim"]:
    """The mean of an encoder's embeddings (d,) over the images of a source, in evaluation mode.

    Raises:
        InputError: there are no rows.
    """
    if not len(source):
        raise InputError("there are no rows to take the mean feature of")
    training = encoder.training
    encoder.eval()
    device = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
    total = torch.stack([encoder(source.take(rows)["image"].to(device)).sum(dim=0) for rows in torch.arange(len(source)).split(_AT_ONCE)])
    encoder.train(training)
    return total.sum(dim=0) / len(source)


def choose_by_features(
    bank: TaskBank, budget: int, features: Mapping[str, Float[Tensor, " dim"]], target: Float[Tensor, " dim"]
) -> TaskBank:
    """The b vectors whose data sets have the mean features most similar to the target's.

    Args:
        bank: n vectors.
        budget: b.
        features: the mean feature (d,) of each vector's data set, by the vector's name.
        target: that of the target.

    Raises:
        InputError: a budget outside 1 to n, or a vector without features.
    """
    _check_budget(budget, bank)
    lacking = [name for name in bank if name not in features]
    if lacking:
        raise InputError(f"there are no features of {some(lacking)}")
    return _largest(bank, torch.stack([F.cosine_similarity(features[name], target, dim=0) for name in bank]), budget)


def choose_by_gradient(bank: TaskBank, budget: int, gradients: Float[Tensor, "vectors blocks"]) -> TaskBank:
    """The b vectors of the largest sums of absolute gradients.

    Args:
        bank: n vectors.
        budget: b.
        gradients: (n, m), see :func:`coefficient_gradients`.

    Raises:
        InputError: a budget outside 1 to n.
    """
    _check_budget(budget, bank)
    return _largest(bank, gradients.abs().sum(dim=1), budget)


def choose_blocks_by_gradient(bank: TaskBank, budget: int, gradients: Float[Tensor, "vectors blocks"], names: list[str]) -> TaskBank:
    """b virtual vectors: number k has in each block the vector of the k-th largest absolute gradient there.

    Args:
        bank: n vectors.
        budget: b.
        gradients: (n, m), see :func:`coefficient_gradients`.
        names: of the m blocks. Entries of the vectors that are no blocks are left out.

    Raises:
        InputError: a budget outside 1 to n, or another number of names.
    """
    _check_budget(budget, bank)
    if len(names) != gradients.shape[1]:
        raise InputError(f"there are gradients of {gradients.shape[1]} blocks and names of {len(names)}")
    vectors = list(bank.values())
    ranks = gradients.abs().topk(budget, dim=0).indices
    return TaskBank(
        {
            str(rank): TaskVector({name: vectors[int(ranks[rank, number])][name] for number, name in enumerate(names)})
            for rank in range(budget)
        }
    )
