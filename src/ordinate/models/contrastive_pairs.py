r"""Contrastive learning as maximum likelihood: of pairs (x, x') of independent inputs it is observed whether they agree,

.. math:: P(s = 1 \mid x, x') = \sigma\bigl(\langle f(x), f(x') \rangle\bigr),

and f is fitted by the logistic loss on the inner products. The latent variable is :math:`z = f(x) + \mu`, :math:`\mu \sim \mathcal N(0, I_r)`, whose posterior mean is f(x). f is identified up to an orthogonal map.

- A linear :math:`f(x) = \Theta x` starts from the spectrum of :math:`\sum_i (s_i - \tfrac12)(x_i x_i'^\top + x_i' x_i^\top)`, whose expectation for a weak signal is :math:`\tfrac m2\, \Sigma\, \Theta^\top \Theta\, \Sigma`,
  and is then brought to the maximum by L-BFGS.
- Any module from rows (B, d) to (B, r) is trained by Adam on minibatches of pairs.

Here pairs are independent and the *sign* is random: the reverse of drawing positive pairs. `ordinate.data.sign_pairs.sign_pairs` turns positive pairs and shuffled negatives into (x, x', s).

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), the section on contrastive learning.
"""

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.latent_model import LatentModel, check_alike
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["ContrastivePairs", "pair_loss"]


def pair_loss(first: Float[Tensor, "pairs r"], second: Float[Tensor, "pairs r"], signs: Float[Tensor, " pairs"]) -> Float[Tensor, ""]:
    """The mean of -log p(s | x, x') over pairs of features (m, r), in nats; signs are 0 or 1."""
    return F.binary_cross_entropy_with_logits((first * second).sum(dim=1), signs)


class ContrastivePairs(LatentModel):
    """See the module. `fit` takes pairs and signs, so it is no step of a scikit-learn pipeline by itself; everything else has those manners.

    Attributes:
        encoder_: the fitted f, a module.
        theta_: (r, d) where f is linear.
        loss_: the mean loss that training ended at, nats a pair.
    """

    def __init__(
        self,
        dim: Any = 1,
        *,
        encoder: Any = None,
        steps: Any = 500,
        lr: Any = 1e-2,
        batch_size: Any = 256,
        random_state: Any = 0,
    ) -> None:
        """
        Args:
            dim: r, of a linear f.
            encoder: any module, of which a copy is trained, in place of a linear f.
            steps: of Adam for a module; at most this many of L-BFGS for a linear f.
            lr: Adam's peak rate.
            batch_size: pairs a step of Adam.
            random_state: of the batches.
        """
        self.dim = dim
        self.encoder = encoder
        self.steps = steps
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state

    @classmethod
    def of_theta(cls, theta: Float[Tensor, "r d"]) -> "ContrastivePairs":
        """A linear model that is known."""
        model = cls(len(theta))
        model.n_features_in_ = theta.shape[1]
        model._keep(theta)
        return model

    def fit(self, X1: Any, X2: Any, s: Any) -> "ContrastivePairs":
        """Maximise the likelihood of the signs.

        Args:
            X1, X2: (m, d).
            s: (m,), 0 or 1 (or False and True).

        Raises:
            InputError: pairs of different length, signs that are neither 0 nor 1 or all the same, no pairs, numbers that are not finite, or for a linear f as many features as coordinates.
        """
        first, second, signs = _checked(X1, X2, s)
        if len(signs.unique()) < 2:
            raise InputError("the signs are all the same: give pairs that agree and pairs that do not")
        self.n_features_in_ = first.shape[1]
        if self.encoder is not None:
            self._train(first, second, signs)
            return self
        if not 1 <= self.dim < first.shape[1]:
            raise InputError(
                f"a linear f has fewer features than there are coordinates, and one at least, not dim={self.dim} for {first.shape[1]}"
            )
        self._keep(_spectral_start(first, second, signs, self.dim))
        self._climb(first, second, signs)
        return self

    def posterior(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows latents"]:
        """f(x), (m, r), of rows (m, d)."""
        check_is_fitted(self)
        with torch.no_grad():
            return self.encoder_(x.to(next(self.encoder_.parameters())))

    def posterior_covariance(self) -> Float[Tensor, "latents latents"]:
        """Of z given x: the identity, (r, r)."""
        check_is_fitted(self)
        return torch.eye(self.posterior(torch.zeros(1, self.n_features_in_)).shape[1], dtype=torch.float64)

    def log_prob(self, X1: Any, X2: Any, s: Any) -> Float[Tensor, " rows"]:
        """log p(s | x, x') of every pair, (m,), in nats.

        Raises:
            InputError: as `fit`.
        """
        first, second, signs = _checked(X1, X2, s)
        one, other = self.posterior(first), self.posterior(second)
        return -F.binary_cross_entropy_with_logits((one * other).sum(dim=1), signs.to(one), reduction="none")

    @property
    def n_parameters(self) -> int:
        """Of a linear f up to orthogonal maps, or all of a module."""
        check_is_fitted(self)
        if self.encoder is None:
            r, d = self.theta_.shape
            return d * r - r * (r - 1) // 2
        return sum(parameter.numel() for parameter in self.encoder_.parameters())

    def align_to(self, other: "ContrastivePairs") -> "ContrastivePairs":
        """The same linear model, turned so that its features are nearest to another's (orthogonal Procrustes).

        Raises:
            InputError: another shape, or an f that is not linear.
        """
        if not hasattr(self, "theta_") or not hasattr(other, "theta_"):
            raise InputError("linear encoders can be aligned; a module's features are compared by ordinate.analyze.similarity")
        check_alike(self.theta_, other.theta_)
        left, _, right = torch.linalg.svd(other.theta_ @ self.theta_.mT)
        turned = self._copied()
        turned._keep(left @ right @ self.theta_)
        return turned

    def _keep(self, theta: Tensor) -> None:
        self.theta_ = theta
        self.encoder_ = _linear(theta)

    def _climb(self, first: Tensor, second: Tensor, signs: Tensor) -> None:
        theta = self.theta_.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [theta], max_iter=self.steps, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = pair_loss(first @ theta.mT, second @ theta.mT, signs)
            value.backward()
            return value

        optimizer.step(loss)
        with torch.no_grad():
            self.loss_ = float(pair_loss(first @ theta.mT, second @ theta.mT, signs))
        self._keep(theta.detach())

    def _train(self, first: Tensor, second: Tensor, signs: Tensor) -> None:
        kind = next(self.encoder.parameters()).dtype
        self.encoder_ = deepcopy(self.encoder)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        rows = TensorSource(first=first.to(kind), second=second.to(kind), signs=signs.to(kind))
        batches = Shuffled(rows, min(self.batch_size, len(signs)), seed)
        history = fit(self.encoder_, _loss_of_batch, batches, Recipe(steps=self.steps, lr=self.lr, warmup=min(self.steps, 10)), seed=seed)
        self.encoder_.eval()
        self.loss_ = history.last("loss")


def _loss_of_batch(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return pair_loss(model(batch["first"]), model(batch["second"]), batch["signs"])


def _linear(theta: Tensor) -> nn.Linear:
    layer = nn.Linear(theta.shape[1], theta.shape[0], bias=False, dtype=theta.dtype)
    with torch.no_grad():
        layer.weight.copy_(theta)
    return layer.requires_grad_(False)


def _checked(X1: Any, X2: Any, s: Any) -> tuple[Tensor, Tensor, Tensor]:
    read = partial(check_array, dtype=[np.float64, np.float32])
    first, second = (torch.tensor(np.asarray(read(half))) for half in (X1, X2))
    signs = torch.as_tensor(np.asarray(s)).to(first)
    if first.shape != second.shape or signs.shape != first.shape[:1]:
        raise InputError(
            f"pairs have two halves of one shape and a sign each, not {tuple(first.shape)}, {tuple(second.shape)} and {tuple(signs.shape)}"
        )
    if not bool(((signs == 0) | (signs == 1)).all()):
        raise InputError("signs are 0 or 1")
    return first, second.to(first), signs


def _spectral_start(first: Tensor, second: Tensor, signs: Tensor, dim: int) -> Tensor:
    crossed = first.mT @ ((signs - 0.5)[:, None] * second) / len(signs)
    spread = (first.mT @ first + second.mT @ second) / (2 * len(signs))
    # E[(s - 1/2) x x'^T] is about Sigma A Sigma / 4 for A = Theta^T Theta.
    inverse = torch.linalg.pinv(spread, hermitian=True)
    values, vectors = torch.linalg.eigh(inverse @ (2 * (crossed + crossed.mT)) @ inverse)
    # A direction without signal starts small rather than at 0, where the gradient vanishes.
    return (vectors[:, -dim:] * values[-dim:].clamp(min=1e-2).sqrt()).mT.flip(0)
