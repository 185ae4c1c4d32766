r"""A small sparse autoencoder over the outputs of attention heads, one for all heads.

.. math:: a = \mathrm{ReLU}(W_e (x - b) + b_e), \qquad \hat x = W_d\, a + b, \qquad
    \mathcal L = \mathrm{mean}\,(x - \hat x)^2 + \lambda\, \mathrm{mean}_{\text{vectors}} \lVert a \rVert_1,

with M features of vectors of width d, and a bias b that is taken off before and put back after. The rows of :math:`W_e` have norm 1; of :math:`W_d` either the columns have, which are the dictionary's vectors, or, as in the official
code, the rows, of which there is one for each coordinate of the output. The forward pass goes through the normalisation, so that gradients have no component along what is normalised; who trains brings the weights themselves back to
norm 1 after every step, with `normalise_`.

Source: O'Neill and Bui, Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models (2024), and its code for the normalisation.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.nn.official import OfficialCheckpoint

__all__ = ["OFFICIAL", "CircuitSAE", "geometric_median", "sparse_loss"]

_NORMED = {"column": -2, "row": -1}
_CLOSE_TO_A_POINT = 1e-12


class CircuitSAE(nn.Module):
    """Vectors (..., d) to features (..., M) and back."""

    def __init__(self, dim: int, features: int = 200, *, centre: Float[Tensor, " dim"] | None = None, decoder_norm: str = "column") -> None:
        """
        Args:
            dim: the width d.
            features: M.
            centre: what the bias b begins at, such as the data's `geometric_median`; None is 0.
            decoder_norm: what has norm 1 in the decoder: ``"column"``, a feature's vector, or ``"row"``, an output coordinate's weights.

        Raises:
            InputError: a number below 1, a centre of another width, or an unknown norm.
        """
        super().__init__()
        if min(dim, features) < 1:
            raise InputError(f"an autoencoder needs a width and features of at least 1, not {dim} and {features}")
        if centre is not None and centre.shape != (dim,):
            raise InputError(f"the centre must have shape ({dim},), not {tuple(centre.shape)}")
        self._normed = _NORMED[choose("decoder norm", decoder_norm, _NORMED)]
        self.centre = nn.Parameter(torch.zeros(dim) if centre is None else centre.detach().clone())
        self.encoder = nn.Parameter(torch.randn(features, dim))
        self.threshold = nn.Parameter(torch.empty(features).uniform_(-1 / math.sqrt(dim), 1 / math.sqrt(dim)))
        self.decoder = nn.Parameter(torch.randn(dim, features))
        self.normalise_()

    def normalise_(self) -> None:
        """Bring the weights back to norm 1, in place; also those of autoencoders that are stacked along a first dimension."""
        with torch.no_grad():
            self.encoder.copy_(F.normalize(self.encoder, dim=-1))
            self.decoder.copy_(F.normalize(self.decoder, dim=self._normed))

    def forward(self, x: Float[Tensor, "*rows dim"]) -> tuple[Float[Tensor, "*rows features"], Float[Tensor, "*rows dim"]]:
        """Features a (..., M), at least 0, and the reconstruction (..., d).

        Raises:
            InputError: vectors of another width.
        """
        if x.shape[-1] != len(self.centre):
            raise InputError(f"the autoencoder takes vectors of width {len(self.centre)}, not {x.shape[-1]}")
        features = F.linear(x - self.centre, F.normalize(self.encoder, dim=-1), self.threshold).relu()
        return features, F.linear(features, F.normalize(self.decoder, dim=self._normed)) + self.centre


def sparse_loss(
    x: Float[Tensor, "*rows dim"], features: Float[Tensor, "*rows features"], reconstruction: Float[Tensor, "*rows dim"], l1: float
) -> Float[Tensor, ""]:
    """The mean squared error over all entries, and λ = `l1` times the mean over vectors of the features' sum."""
    return F.mse_loss(reconstruction, x) + l1 * features.sum(dim=-1).mean()


@torch.no_grad()
def geometric_median(x: Float[Tensor, "rows dim"], *, steps: int = 100) -> Float[Tensor, " dim"]:
    """The point with the least sum of distances to the rows, by Weiszfeld's iteration from their mean."""
    middle = x.mean(dim=0)
    for _ in range(steps):
        weights = 1 / (x - middle).norm(dim=1).clamp(min=_CLOSE_TO_A_POINT)
        moved = (weights[:, None] * x).sum(dim=0) / weights.sum()
        if torch.allclose(moved, middle, rtol=0, atol=1e-7 * float(x.abs().max())):
            return moved
        middle = moved
    return middle


def _build(state: Mapping[str, Tensor], **config: Any) -> CircuitSAE:
    features, dim = state["encoder.1.weight"].shape
    wanted = {"n_input_features": dim, "n_learned_features": features}
    for name, value in config.items():
        if name != "geometric_median_dataset" and wanted.get(choose("argument of the official autoencoder", name, wanted)) != value:
            raise InputError(f"the checkpoint has {name}={wanted[name]}, not {value}")
    return CircuitSAE(dim, features, decoder_norm="row")


def _translate(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    ours = {"tied_bias": "centre", "encoder.1.weight": "encoder", "encoder.1.bias": "threshold", "decoder.0.weight": "decoder"}
    shared = {"encoder.0._bias_reference", "decoder.1._bias_reference"}  # the tied bias again
    return {ours.get(key, key): value for key, value in state.items() if key not in shared}


OFFICIAL = {"circuit-autoencoder": OfficialCheckpoint(_build, _translate)}
