r"""InfoNCE: each embedding must recognise its partner among the batch.

For unit embeddings :math:`q_i, k_i` of B pairs and temperature :math:`\tau`,

.. math:: \mathcal L = -\frac1B \sum_i \log \frac{\exp(q_i^\top k_i / \tau)}{\sum_j \exp(q_i^\top k_j / \tau)}

and, symmetric, the mean of that and of its transpose. The other pairs of the batch are the negatives; further ones may be given. Under `torchrun` the keys of all processes are gathered with their gradient, so that N processes
compute what one would with the whole batch.

Sources: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, equation 4; the symmetric form of Radford et al., 2021.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from ordinate.ground.errors import InputError
from ordinate.nn.nested_head import complete_dims
from ordinate.objectives.base import Objective
from ordinate.objectives.matryoshka import MatryoshkaLoss

__all__ = ["OBJECTIVES", "Contrastive", "InfoNCE", "gather_rows"]


def gather_rows(x: Float[Tensor, "rows *rest"]) -> Float[Tensor, "all_rows *rest"]:
    """The rows of all processes, in the order of their ranks, with their gradient; `x` itself where there is one process."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    return torch.cat(all_gather(x.contiguous()))


class InfoNCE(nn.Module):
    """The loss of pairs of embeddings, (B, d) and (B, d) -> scalar."""

    def __init__(
        self, temperature: float = 0.07, *, learn_temperature: bool = False, symmetric: bool = True, normalize: bool = True
    ) -> None:
        """
        Args:
            temperature: divides the similarities; the first value where it is learnt.
            learn_temperature: train its logarithm; the factor 1/temperature is kept at 100 or below.
            symmetric: keys must recognise their queries too.
            normalize: scale embeddings to unit length first.

        Raises:
            InputError: a temperature that is not positive.
        """
        super().__init__()
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be positive, not {temperature}")
        sharpness = torch.tensor(-math.log(temperature))
        if learn_temperature:
            self.log_sharpness = nn.Parameter(sharpness)
        else:
            self.register_buffer("log_sharpness", sharpness)
        self.symmetric = symmetric
        self.normalize = normalize

    def forward(
        self, queries: Float[Tensor, "pairs dim"], keys: Float[Tensor, "pairs dim"], negatives: Float[Tensor, "negatives dim"] | None = None
    ) -> Float[Tensor, ""]:
        """The loss of B pairs.

        Args:
            queries: (B, d).
            keys: (B, d), the partner of each.
            negatives: (M, d), further keys that are nobody's partner.

        Raises:
            InputError: shapes that do not fit, or a single pair without negatives, whose loss is zero whatever the embeddings are.
        """
        if queries.ndim != 2 or queries.shape != keys.shape or (negatives is not None and negatives.shape[1:] != queries.shape[1:]):
            shapes = [tuple(each.shape) for each in (queries, keys, negatives) if each is not None]
            raise InputError(f"pairs are two matrices (pairs, dim) of one shape, and negatives (negatives, dim), not {shapes}")
        if self.normalize:
            queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
            negatives = None if negatives is None else F.normalize(negatives, dim=1)
        all_keys = gather_rows(keys)
        if len(all_keys) == 1 and negatives is None:
            raise InputError("a contrastive loss needs at least two pairs, or negatives: one pair has nothing to be told from")
        first = len(queries) * dist.get_rank() if len(all_keys) > len(keys) else 0
        partners = torch.arange(first, first + len(queries), device=queries.device)
        sharpness = self.log_sharpness.clamp(max=math.log(100.0)).exp()
        candidates = all_keys if negatives is None else torch.cat([all_keys, gather_rows(negatives)])
        loss = F.cross_entropy(sharpness * queries @ candidates.t(), partners)
        if not self.symmetric:
            return loss
        return (loss + F.cross_entropy(sharpness * keys @ gather_rows(queries).t(), partners)) / 2


class Contrastive(Objective):
    """InfoNCE between the embeddings of two views of each image, plain or nested.

    Reads `query` and `key`, (B, C, H, W) each, as `ordinate.data.augment.Views(query=..., key=...)` makes them.
    """

    def __init__(self, loss: InfoNCE | None = None, dims: Sequence[int] | None = None) -> None:
        """
        Args:
            loss: of the pairs; None is `InfoNCE()`.
            dims: the sizes of a nested embedding, ascending; both sides are cut at the same size, and every prefix is normalised by itself. None trains the whole embedding alone.

        Raises:
            InputError: sizes that are not a nesting.
        """
        super().__init__()
        loss = loss or InfoNCE()
        self.loss = loss if dims is None else MatryoshkaLoss(loss, dims)
        self.nested = dims is not None

    @classmethod
    def for_model(
        cls, model: nn.Module, *, matryoshka: Sequence[int] | None = None, temperature: float = 0.07, learn_temperature: bool = False
    ) -> "Contrastive":
        """For a vision encoder.

        Args:
            model: what is trained.
            matryoshka: sizes of a nested embedding, ascending, completed by the encoder's width; None trains the whole alone.
            temperature, learn_temperature: of :class:`InfoNCE`.

        Raises:
            InputError: the model is not one, or the sizes are no nesting within its `num_features`.
        """
        width = getattr(model, "num_features", None)
        if width is None:
            raise InputError(f"contrastive training needs a vision encoder, and {type(model).__name__} is not one")
        dims = None if matryoshka is None else complete_dims(matryoshka, width)
        return cls(InfoNCE(temperature, learn_temperature=learn_temperature), dims)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's pairs of views.

        Raises:
            InputError: the batch has no pair of views.
        """
        if not {"query", "key"} <= batch.keys():
            raise InputError(f"contrastive training reads two views of each image, 'query' and 'key', and the batch has {', '.join(batch)}")
        both = model.embed(torch.cat([batch["query"], batch["key"]]))  # type: ignore[operator]
        loss = self.loss(*both.chunk(2))
        return loss.total if self.nested else loss


OBJECTIVES = {"contrastive": Contrastive.for_model}
