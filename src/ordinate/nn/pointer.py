r"""The pointer: attention scores that are the output distribution.

For memories :math:`e_1, \dots, e_n` and a query :math:`d_i` the additive score

.. math:: u_{ij} = v^\top \tanh(W_1 e_j + W_2 d_i), \qquad p(C_i = j) = \operatorname{softmax}_j(u_i)

is read as a distribution over the *positions of the input*. The output alphabet grows and shrinks with the input, so that one set of weights serves every size: for copying, selecting, ordering,
and span prediction. Memories may come from any encoder.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 2.3, equation 3.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ordinate.ground.errors import InputError

__all__ = ["PointerHead"]


class PointerHead(nn.Module):
    """Additive scores of queries against keys, (B, T, Dq) and (B, n, Dk) -> logits (B, T, n)."""

    def __init__(self, query_dim: int, key_dim: int, hidden: int, *, most_elements: int = 1 << 22) -> None:
        """
        Args:
            query_dim: the width Dq of the queries.
            key_dim: the width Dk of the keys.
            hidden: the width H in which they are added.
            most_elements: the largest (B, t, n, H) tensor that is formed at once; beyond it the queries are taken in chunks of t, which are computed again in the backward pass: what stays in a processor's cache is computed twice in less time than it is stored and read back.

        Raises:
            InputError: a width below 1.
        """
        super().__init__()
        if min(query_dim, key_dim, hidden, most_elements) < 1:
            raise InputError(f"a pointer's widths must be at least 1, not query_dim={query_dim}, key_dim={key_dim}, hidden={hidden}")
        self.query = nn.Linear(query_dim, hidden, bias=False)
        self.key = nn.Linear(key_dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.most_elements = most_elements

    def project(self, keys: Float[Tensor, "batch n key_dim"]) -> Float[Tensor, "batch n hidden"]:
        """W_1 e: what of the keys is needed for every query, to be computed once a sequence when decoding step by step."""
        return self.key(keys)

    def forward(
        self,
        query: Float[Tensor, "batch steps query_dim"],
        keys: Float[Tensor, "batch n key_dim"],
        mask: Bool[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch steps n"]:
        """Logits over the keys.

        Args:
            query: (B, T, Dq).
            keys: (B, n, Dk).
            mask: (B, n), True = may be pointed at; the others' logits are -inf.

        Raises:
            InputError: a wrong width, or a row of `mask` that allows nothing.
        """
        if keys.shape[-1] != self.key.in_features:
            raise InputError(f"this pointer's keys are {self.key.in_features} wide, not {keys.shape[-1]}")
        return self.attend(query, self.project(keys), mask)

    def attend(
        self,
        query: Float[Tensor, "batch steps query_dim"],
        projected: Float[Tensor, "batch n hidden"],
        mask: Bool[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch steps n"]:
        """`forward`, with keys that `project` has been through.

        Raises:
            InputError: a wrong width, or a row of `mask` that allows nothing.
        """
        if query.shape[-1] != self.query.in_features:
            raise InputError(f"this pointer's queries are {self.query.in_features} wide, not {query.shape[-1]}")
        asked = self.query(query)
        batch, steps, hidden = asked.shape
        at_once = max(1, self.most_elements // max(1, batch * projected.shape[1] * hidden))
        if steps <= at_once:
            logits = self._scores(asked, projected)
        else:
            parts = [checkpoint(self._scores, part, projected, use_reentrant=False) for part in asked.split(at_once, dim=1)]
            logits = torch.cat(parts, dim=1)
        if mask is None:
            return logits
        if not torch.compiler.is_compiling() and not bool(mask.any(dim=1).all()):
            raise InputError("a row of the pointer's mask allows no position: leave empty rows out, or give them an END slot")
        return logits.masked_fill(~mask[:, None], float("-inf"))

    def _scores(self, asked: Tensor, projected: Tensor) -> Tensor:
        # The sum is not needed again, so that tanh may overwrite it: the (B, T, n, H) tensor is written once.
        return self.score(torch.tanh_(asked[:, :, None] + projected[:, None])).squeeze(-1)
