r"""Random directions of weights in place of task vectors: the baseline of intrinsic dimension.

Block j of every basis is drawn from a normal distribution with the mean and the standard deviation of the entries of :math:`\theta_0^{(j)}`. Composed like task vectors, they say how much of what is learned is due to the number of
coefficients, and how much to the directions.

Sources: Aghajanyan et al., Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning (ACL 2021); Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024),
appendix E.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["random_bases"]


def random_bases(theta0: Mapping[str, Tensor], count: int, seed: int = 0) -> TaskBank:
    """Random vectors of the architecture of a state dict.

    Args:
        theta0: pre-trained weights; integer entries are passed over.
        count: n.
        seed: of the draws.

    Raises:
        InputError: less than one vector.
    """
    if count < 1:
        raise InputError(f"at least one basis is needed, not {count}")
    bank = {}
    for number in range(count):
        entries = {}
        for name, entry in theta0.items():
            if entry.is_floating_point():
                drawn = torch.randn(entry.shape, generator=generator(seed, "basis", number, name)).to(entry)
                # A single entry has no deviation of its own.
                spread = entry.std() if entry.numel() > 1 else torch.zeros_like(entry.mean())
                entries[name] = entry.detach().mean() + spread * drawn
        bank[str(number)] = TaskVector(entries)
    return TaskBank(bank)
