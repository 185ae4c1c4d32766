r"""The exact deep kernel machine: Bayesian inference in an infinitely wide deep Gaussian process whose representation still learns.

Scaling the number of outputs together with the width gives a limit in which the layers' Gram matrices are deterministic and maximise

.. math:: J(G^1, \dots, G^L) = \log P(Y \mid G^L) - \sum_{l=1}^L \nu_l\,\mathrm{KL}\big(\mathcal N(0, G^l) \,\big\|\, \mathcal N(0, K(G^{l-1}))\big), \qquad G^0 = X X^\top / d .

Used as a model, the Gram matrices are the parameters. The outputs are

- ``gaussian``: :math:`\log P(Y \mid G^L) = \sum_c \log \mathcal N(y_c; 0, K(G^L) + \sigma^2 I)`;
- ``gram``: :math:`-\nu_{L+1}\,\mathrm{KL}(\mathcal N(0, G_Y) \| \mathcal N(0, K(G^L)))` with the targets' own Gram matrix :math:`G_Y = Y Y^\top / C` plus jitter: as many outputs as the layers are wide.

As :math:`\nu \to \infty` every layer is tied to the kernel below (the NNGP); without the prior the fit is maximum a posteriori's. For linear kernels and equal widths the optimum of the second output is
known (`deep_linear_solution`): the geometric interpolation :math:`G^l = G^0 ((G^0)^{-1} G_Y)^{l/(L+1)}`.

Training starts at the NNGP and is deterministic and without sampling, O(L P^3) a step.

Source: Yang, Robeyns, Milsom, Anson, Schoots, Aitchison, A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the sections on the Bayesian representation learning limit and on
deep kernel machines.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.models.deep_kernel import DeepKernel, read_dtype
from ordinate.nn.cholesky import check_symmetric, factor
from ordinate.nn.gaussian_divergence import gaussian_kl
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_kernels import JITTER, Jitter, read_jitter
from ordinate.nn.gram_layer import LayerFactor
from ordinate.nn.inducing_output import NAME
from ordinate.nn.likelihoods import GaussianLikelihood
from ordinate.train.fit import fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe
from ordinate.train.working_precision import maximise

__all__ = ["MODELS", "DeepKernelMachine", "PreparedMachine", "deep_linear_solution", "full_batch_recipe", "gp_log_likelihood"]

OUTPUTS = ("gaussian", "gram")


def gp_log_likelihood(
    kernel: Float[Tensor, "*batch points points"], targets: Float[Tensor, "*batch points outputs"]
) -> Float[Tensor, "*batch"]:
    r""":math:`\sum_c \log \mathcal N(y_c; 0, K)` in nats, with the noise already on the diagonal of K.

    Args:
        kernel: K, (..., P, P).
        targets: (..., P, C).

    Raises:
        InputError: K is not positive definite.
    """
    root = factor(kernel, NAME)
    solved = torch.linalg.solve_triangular(root, targets, upper=False)
    points, outputs = targets.shape[-2:]
    determinant = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return -0.5 * solved.square().sum(dim=(-2, -1)) - outputs * (determinant + 0.5 * points * math.log(2 * math.pi))


def deep_linear_solution(
    inputs: Float[Tensor, "points points"], targets: Float[Tensor, "points points"], layers: int
) -> list[Float[Tensor, "points points"]]:
    r"""The optimum of a deep linear kernel machine with equal widths and the ``gram`` output: :math:`G^l = G^0 ((G^0)^{-1} G_Y)^{l/(L+1)}`, l = 1 .. L.

    Args:
        inputs: G^0, (P, P), positive definite.
        targets: G_Y, (P, P), positive definite.
        layers: L.

    Raises:
        InputError: no layers, or a matrix that is not symmetric positive definite.
    """
    if layers < 1:
        raise InputError(f"layers must be at least 1, not {layers}")
    check_symmetric(inputs, "G^0")
    check_symmetric(targets, "G_Y")
    root = factor(inputs, "G^0")
    factor(targets, "G_Y")
    # G^0 ((G^0)^-1 G_Y)^s = C (C^-1 G_Y C^-T)^s C^T, which is symmetric in every step.
    half = torch.linalg.solve_triangular(root, targets, upper=False)
    values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.mT, upper=False))
    turned = root @ vectors
    return [(turned * values ** (layer / (layers + 1))) @ turned.mT for layer in range(1, layers + 1)]


class DeepKernelMachine(Model):
    """Holds P training points and a Gram matrix of them in every layer. `initialise` gives it the data, `fit` trains it, `predict` reads it."""

    x: Tensor
    y: Tensor

    def __init__(
        self,
        points: int,
        in_features: int | None,
        out_features: int = 1,
        *,
        kernels: Sequence[str | Mapping[str, Any]] = ("sqexp", "sqexp"),
        nu: float | Sequence[float] = 1.0,
        output: str = "gaussian",
        output_nu: float = 1.0,
        noise: float = 0.1,
        prior: bool = True,
        form: str = "whitened",
        divergence: str = "kl",
        normalise: bool = False,
        relevance: bool = False,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: Sequence[int] = (),
        dtype: str = "float64",
    ) -> None:
        """
        Args:
            points: P.
            in_features: d, or None for a machine that is given Gram matrices instead of points.
            out_features: C.
            kernels: L + 1 of them, for L learned Gram matrices; see `ordinate.models.deep_kernel.DeepKernel`.
            nu: the relative widths of the L layers; infinity is the NNGP.
            output: ``"gaussian"`` or ``"gram"``.
            output_nu: the relative width of a ``"gram"`` output.
            noise: the variance of a ``"gaussian"`` output's noise, to begin with.
            prior: False drops the divergences.
            form, divergence, normalise: see `ordinate.models.deep_kernel.DeepKernel`.
            relevance: learn one relevance for each input feature.
            learned: whether the kernels' numbers and the noise are parameters.
            jitter: of the kernels, and (its absolute part) of G_Y.
            batch: sizes of leading dimensions of independent problems, each with its own data and parameters.
            dtype: ``"float64"``, or ``"float32"`` where the kernels are well conditioned.

        Raises:
            InputError: what the parts refuse, or unknown names.
        """
        super().__init__()
        kind = read_dtype(dtype)
        sizes = tuple(batch)
        if points < 1 or out_features < 1:
            raise InputError(f"points and out_features must be at least 1, not {points} and {out_features}")
        self.points, self.in_features, self.out_features = points, in_features, out_features
        self.output = choose("output", output, OUTPUTS)
        self.output_nu, self.ridge = output_nu, read_jitter(jitter)[1]
        self.inputs = None if in_features is None else InputGram(in_features, learned=relevance, batch=sizes, dtype=kind)
        self.deep = DeepKernel(
            points,
            kernels,
            nu=nu,
            prior=prior,
            form=form,
            divergence=divergence,
            normalise=normalise,
            learned=learned,
            jitter=jitter,
            batch=sizes,
            dtype=kind,
        )
        self.likelihood = GaussianLikelihood(noise=noise, learned=learned, batch=sizes, dtype=kind) if output == "gaussian" else None
        self.register_buffer("x", torch.zeros(*sizes, points, points if in_features is None else in_features, dtype=kind))
        self.register_buffer("y", torch.zeros(*sizes, points, out_features, dtype=kind))

    def initialise(self, x: Float[Tensor, "*batch points dim"], y: Float[Tensor, "*batch points outputs"]) -> "DeepKernelMachine":
        """Take the data, and set every Gram matrix to the NNGP's.

        Args:
            x: (..., P, d), or the Gram matrix G^0 (..., P, P) of a machine without in_features. Standardise it before.
            y: (..., P, C), standardised.

        Raises:
            InputError: other shapes, numbers that are not finite, or a G^0 that is not symmetric.
        """
        for name, given, held in (("x", x, self.x), ("y", y, self.y)):
            if given.shape != held.shape:
                raise InputError(f"{name} must be of shape {tuple(held.shape)}, not {tuple(given.shape)}")
            if not bool(torch.isfinite(given).all()):
                raise InputError(f"{name} holds NaN or infinite numbers: fill them in or leave those rows out")
        if self.inputs is None:
            check_symmetric(x, "G^0")
        self.x.copy_(x)
        self.y.copy_(y)
        self.deep.start(self._input_gram(None, full=False).ii)
        return self

    def objective(self) -> Float[Tensor, "*batch"]:
        """J, which is maximised: the log-likelihood of the output less the weighted divergences, (...), in nats.

        Raises:
            InputError: a kernel is not positive definite; the message names the layer.
        """
        log_likelihood, penalty = self.terms()
        return log_likelihood - penalty

    def terms(self) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The two parts of the objective: the log-likelihood of the output, and the sum of the weighted divergences."""
        passed = self.deep(self._input_gram(None, full=False))
        kernel = passed.kernel.ii
        if self.likelihood is None:
            return -self.output_nu * gaussian_kl(self.target_gram(), kernel), passed.penalty
        return gp_log_likelihood(self._noisy(kernel), self.y), passed.penalty

    def forward(self) -> Float[Tensor, "*batch"]:
        """The objective."""
        return self.objective()

    def target_gram(self) -> Float[Tensor, "*batch points points"]:
        """G_Y = Y Y^T / C with jitter on its diagonal."""
        gram = self.y @ self.y.mT / self.out_features
        return gram + self.ridge * torch.eye(self.points, dtype=gram.dtype, device=gram.device)

    @property
    def grams(self) -> list[Float[Tensor, "*batch points points"]]:
        """G^1 .. G^L at the training points, without gradients."""
        with torch.no_grad():
            return [gram.ii for gram in self.deep(self._input_gram(None, full=False)).grams]

    def fit(
        self,
        x: Float[Tensor, "*batch points dim"],
        y: Float[Tensor, "*batch points outputs"],
        *,
        steps: int = 200,
        lr: float = 5e-2,
        seed: int = 0,
        progress: bool = False,
    ) -> History:
        """`initialise`, and maximise the objective by Adam with a cosine schedule.

        Args:
            x, y: as `initialise` takes them.
            steps: of the optimizer.
            lr: the peak learning rate.
            seed: of what a callback may draw; the machine draws nothing.
            progress: show a bar.

        Returns:
            The curve of the loss, which is minus the objective a training point.

        Raises:
            Diverged: the objective is not finite.
        """
        self.initialise(x, y)
        self.train()
        history = fit(
            self,
            _minus_objective,
            partial(_all_rows, self.points),
            full_batch_recipe(steps, lr, self.x.dtype),
            seed=seed,
            progress=progress,
        )
        self.eval()
        return history

    def solve(
        self, x: Float[Tensor, "*batch points dim"], y: Float[Tensor, "*batch points outputs"], *, iterations: int = 2000
    ) -> Float[Tensor, ""]:
        """`initialise`, and go to a maximum of the objective to working precision by L-BFGS: for small problems whose optimum itself is wanted.

        Args:
            x, y: as `initialise` takes them.
            iterations: at most.

        Returns:
            The objective at the end, summed over a batch of problems.
        """
        return self.initialise(x, y).maximise(iterations)

    def maximise(self, iterations: int = 2000) -> Float[Tensor, ""]:
        """Go on to a maximum from the parameters as they are, by L-BFGS: `solve` for a machine that has its data.

        Args:
            iterations: at most.

        Returns:
            The objective at the end, summed over a batch of problems.
        """
        found = maximise(lambda: self.objective().sum(), self.parameters(), iterations=iterations)
        self.eval()
        return found

    def predict(
        self, tests: Float[Tensor, "*batch tests dim"] | Gram, *, full: bool = False
    ) -> tuple[Float[Tensor, "*batch tests outputs"], Float[Tensor, "*test_block"]]:
        """The predictive mean (..., T, C) and the variance (..., T) of each output, noise included, or the covariance (..., T, T).

        Args:
            tests: points, or for a machine without in_features the joint Gram matrix of the training and the test points (of which ``ii`` is not read).
            full: give the covariance.

        Raises:
            InputError: tests of another kind or width.
        """
        return self.prepared()(tests, full=full)

    @torch.no_grad()
    def prepared(self) -> "PreparedMachine":
        """A predictor with all factorisations done once: O(L P^2) a test point from then on."""
        passed = self.deep(self._input_gram(None, full=False))
        root = factor(self._noisy(passed.kernel.ii), NAME)
        return PreparedMachine(self, passed.factors, root, torch.cholesky_solve(self.y, root))

    def _noisy(self, kernel: Tensor) -> Tensor:
        if self.likelihood is None:
            return kernel
        return kernel + torch.diag_embed(self.likelihood.noise[..., None].expand(kernel.shape[:-1]))

    def _input_gram(self, tests: Tensor | Gram | None, *, full: bool) -> Gram:
        if isinstance(tests, Gram) or self.inputs is None:
            if self.inputs is not None or not (tests is None or isinstance(tests, Gram)):
                raise InputError(
                    "a machine with in_features is given points, and one without is given Gram matrices: this is the other kind"
                )
            return Gram.of_inducing(self.x) if tests is None else Gram(self.x, tests.ti, tests.tt if full else tests.t)
        return cast(Gram, self.inputs(self.x, tests, full=full))


class PreparedMachine:
    """Predicts from a trained machine whose factorisations are done; see `DeepKernelMachine.prepared`."""

    def __init__(self, machine: DeepKernelMachine, factors: Sequence[LayerFactor], root: Tensor, weights: Tensor) -> None:
        """
        Args:
            machine: trained.
            factors: of its layers.
            root: the Cholesky factor of the last kernel with noise, (..., P, P).
            weights: that kernel's inverse times the targets, (..., P, C).
        """
        self._machine, self._factors, self._root, self._weights = machine, factors, root, weights

    @torch.no_grad()
    def __call__(self, tests: Tensor | Gram, *, full: bool = False) -> tuple[Tensor, Tensor]:
        """As `DeepKernelMachine.predict`."""
        machine = self._machine
        kernel = machine.deep(machine._input_gram(tests, full=full), self._factors).kernel
        solved = torch.linalg.solve_triangular(self._root, kernel.ti.mT, upper=False)
        noise = 0.0 if machine.likelihood is None else machine.likelihood.noise[..., None]
        mean = kernel.ti @ self._weights
        if not full:
            return mean, (kernel.tt - solved.square().sum(dim=-2)).clamp(min=0.0) + noise
        covariance = kernel.tt - solved.mT @ solved
        return mean, covariance + torch.diag_embed(torch.zeros_like(kernel.t) + noise)


def full_batch_recipe(steps: int, lr: float, dtype: torch.dtype) -> Recipe:
    """The recipe of a fit on all data at once, in the precision of the model."""
    return Recipe(steps=steps, lr=lr, precision="64-true" if dtype == torch.float64 else "32-true", betas=(0.9, 0.99))


def _minus_objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    machine = cast(DeepKernelMachine, model)
    # Problems of a batch do not touch each other's parameters: the sum trains each of them as it would be alone.
    return -machine.objective().sum() / machine.points


def _all_rows(points: int, step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    return {"row": torch.arange(points)}


MODELS = {"deep-kernel-machine": partial(DeepKernelMachine)}
