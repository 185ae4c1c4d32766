r"""What gradient descent on the square loss makes of an infinitely wide network, without training it.

With the neural tangent kernel frozen, the outputs at time t (learning rate times steps) are

.. math:: z_A(t) = y_A + e^{-\Theta_{AA} t} (z_A(0) - y_A), \qquad z_T(t) = z_T(0) - \Theta_{TA} \Theta_{AA}^{-1} (1 - e^{-\Theta_{AA} t}) (z_A(0) - y_A),

A the training inputs, T the others; for :math:`t \to \infty` this is kernel regression.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), section 10.2.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.gaussian import check_covariance
from ordinate.ground.errors import InputError

__all__ = ["linearised_curve", "ntk_predict"]


def _spectrum(train_kernel: Tensor, targets: Tensor, initial: Tensor | None, jitter: float) -> tuple[Tensor, Tensor, Tensor]:
    check_covariance(train_kernel.double())
    if len(targets) != len(train_kernel):
        raise InputError(f"there are {len(targets)} targets for {len(train_kernel)} training inputs")
    if not 0 <= jitter < math.inf:
        raise InputError(f"jitter is 0 or more, not {jitter}")
    kernel = train_kernel.double()
    values, vectors = torch.linalg.eigh(kernel)
    values = values.clamp(min=0) + jitter * float(kernel.diagonal().mean())
    error = (0.0 if initial is None else initial.double()) - targets.double()
    return values, vectors, error


def ntk_predict(
    train_kernel: Float[Tensor, "train train"],
    cross_kernel: Float[Tensor, "test columns"],
    targets: Float[Tensor, "rows outputs"],
    *,
    initial_train: Float[Tensor, "train outputs"] | None = None,
    initial_test: Float[Tensor, "test outputs"] | None = None,
    time: float = math.inf,
    jitter: float = 0.0,
) -> Float[Tensor, "test outputs"]:
    """Outputs on the test inputs after training to `time`, (T, O) float64.

    Args:
        train_kernel: Θ_AA, (A, A).
        cross_kernel: Θ_TA, (T, A).
        targets: y_A, (A, O).
        initial_train, initial_test: outputs before training; None for 0, the mean over networks.
        time: learning rate times steps of the loss Σ (z - y)²/2; infinite for convergence.
        jitter: added to the diagonal, as a fraction of its mean.

    Raises:
        InputError: no covariance, shapes that do not fit, or a singular kernel at infinite time without jitter (two inputs that are the same, or more inputs than the kernel has directions).
    """
    values, vectors, error = _spectrum(train_kernel, targets, initial_train, jitter)
    if cross_kernel.shape[1] != len(train_kernel):
        raise InputError(
            f"the kernel of test with training inputs has {cross_kernel.shape[1]} columns for {len(train_kernel)} training inputs"
        )
    if not time >= 0:
        raise InputError(f"time is 0 or more, not {time}")
    if math.isinf(time) and float(values[0]) <= 1e-13 * float(values[-1]):
        raise InputError("the kernel of the training inputs is singular: leave repeated inputs out, or give a jitter (1e-8, say)")
    learnt = torch.where(values > 0, -torch.expm1(-values * time) / values, time) if math.isfinite(time) else 1 / values
    moved = cross_kernel.double() @ (vectors * learnt) @ (vectors.mT @ error)
    return (0.0 if initial_test is None else initial_test.double()) - moved


def linearised_curve(
    train_kernel: Float[Tensor, "train train"],
    targets: Float[Tensor, "rows outputs"],
    times: Float[Tensor, " times"],
    *,
    initial: Float[Tensor, "train outputs"] | None = None,
) -> Float[Tensor, " times"]:
    """The training loss Σ (z - y)²/2 at each time, (times,) float64: every eigenvector's error falls as exp(-λ t).

    Args:
        train_kernel, targets: as in `ntk_predict`.
        times: learning rate times steps, 0 or more.
        initial: outputs before training; None for 0.

    Raises:
        InputError: no covariance, or shapes that do not fit.
    """
    values, vectors, error = _spectrum(train_kernel, targets, initial, 0.0)
    energy = (vectors.mT @ error).square().sum(dim=1)
    return torch.exp(-2 * times.double()[:, None] * values) @ energy / 2
