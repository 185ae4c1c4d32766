r"""The sparse deep kernel machine: Gram matrices of P_i inducing points instead of all data, and cost linear in the data.

The inducing inputs :math:`X_i` and the Gram matrices :math:`G^l_{ii}` are learned; a minibatch of :math:`P_t` points is carried beside them with its cross-block and its diagonal. With
:math:`q(f_i^c) = \mathcal N(\mu_c, A)` at the output the objective, a lower bound of the evidence, is per datum

.. math:: \frac1{P_t} \sum_t \mathbb E_q \log p(y_t \mid f_t) - \frac1N \Big[\sum_l \nu_l\,\mathrm{KL}\big(\mathcal N(0, G^l_{ii}) \,\big\|\, \mathcal N(0, K(G^{l-1}_{ii}))\big) + \mathrm{KL}_{\mathrm{out}}\Big],

and costs :math:`O(L (P_i^3 + P_i^2 P_t))` a step. Under Gaussian noise the best :math:`\mu, A` are known, and the bound that they give needs neither (`collapsed_bound`).

Source: Yang, Robeyns, Milsom, Anson, Schoots, Aitchison, A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the section on sparse deep kernel machines. Checkpoints of the
fully connected layers of the follow-up's library (Milsom, Anson, Aitchison, Convolutional deep kernel machines, ICLR 2024) are read by ``load_official("deep-kernel-machine", ...)``; the inducing inputs,
which that code keeps outside, may be added to its state as ``X_inducing``.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.base import Model
from ordinate.models.deep_kernel import DeepKernel, read_dtype
from ordinate.nn.cholesky import factor
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_kernels import JITTER, Jitter
from ordinate.nn.gram_layer import LayerFactor
from ordinate.nn.inducing_output import NAME, InducingOutput, Values
from ordinate.nn.likelihoods import LIKELIHOODS, CategoricalLikelihood, GaussianLikelihood, Likelihood, check_classes
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["MODELS", "OFFICIAL", "PreparedSparseMachine", "SparseDeepKernelMachine"]


class SparseDeepKernelMachine(Model):
    """`machine(x)` -> the mean (T, C) and the variance (T,) of the outputs' values; `elbo` is what is maximised."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        inducing: int = 64,
        kernels: Sequence[str | Mapping[str, Any]] = ("sqexp", "sqexp"),
        nu: float | Sequence[float] = 1.0,
        likelihood: str = "gaussian",
        noise: float = 0.1,
        samples: int = 100,
        tempered: bool = False,
        prior: bool = True,
        form: str = "whitened",
        divergence: str = "kl",
        columns: int | None = None,
        normalise: bool = False,
        relevance: bool = False,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: Sequence[int] = (),
        dtype: str = "float64",
    ) -> None:
        """
        Args:
            in_features: d.
            out_features: C: targets, or classes.
            inducing: P_i.
            kernels: L + 1 of them, for L learned Gram matrices; see `ordinate.models.deep_kernel.DeepKernel`.
            nu: the relative widths of the L layers; infinity is the NNGP, whose one-kernel case is the sparse variational Gaussian process.
            likelihood: ``"gaussian"`` or ``"categorical"``.
            noise: the variance of Gaussian noise, to begin with.
            samples: Monte Carlo draws of a categorical likelihood in training.
            tempered: divide the divergence of the output by C, as the follow-up's library does.
            prior, form, divergence, columns, normalise: see `ordinate.models.deep_kernel.DeepKernel`.
            relevance: learn one relevance for each input feature.
            learned: whether the kernels' numbers and the noise are parameters.
            jitter: of the kernels; see `ordinate.nn.gram_kernels.EntrywiseGram`.
            batch: sizes of leading dimensions of independent problems.
            dtype: ``"float64"``, or ``"float32"`` where the kernels are well conditioned.

        Raises:
            InputError: what the parts refuse, or unknown names.
        """
        super().__init__()
        kind = read_dtype(dtype)
        sizes = tuple(batch)
        choose("likelihood", likelihood, LIKELIHOODS)
        self.in_features, self.out_features, self.inducing, self.tempered = in_features, out_features, inducing, tempered
        self.inputs = InputGram(in_features, learned=relevance, batch=sizes, dtype=kind)
        self.deep = DeepKernel(
            inducing,
            kernels,
            nu=nu,
            prior=prior,
            form=form,
            divergence=divergence,
            columns=columns,
            normalise=normalise,
            learned=learned,
            jitter=jitter,
            batch=sizes,
            dtype=kind,
        )
        self.output = InducingOutput(inducing, out_features, form=form, batch=sizes, dtype=kind)
        self.points = nn.Parameter(torch.randn(*sizes, inducing, in_features, dtype=kind))
        self.likelihood: Likelihood = (
            GaussianLikelihood(noise=noise, learned=learned, batch=sizes, dtype=kind)
            if likelihood == "gaussian"
            else CategoricalLikelihood(samples=samples)
        )

    @torch.no_grad()
    def initialise(self, x: Float[Tensor, "*batch rows dim"], y: Tensor, *, seed: int = 0) -> "SparseDeepKernelMachine":
        """Put the inducing points on random rows of the data, with those rows' targets (or one-hot classes) as their values, and every Gram matrix at the NNGP's.

        Args:
            x: (..., N, d), standardised.
            y: (..., N, C), standardised, or classes (..., N), int64.
            seed: of the rows.

        Raises:
            InputError: fewer rows than inducing points, numbers that are not finite, or targets that do not fit.
        """
        rows = x.shape[-2]
        if rows < self.inducing:
            raise InputError(f"{self.inducing} inducing points cannot be put on {rows} rows: ask for at most {rows}")
        if not bool(torch.isfinite(x).all()) or not bool(torch.isfinite(y).all()):
            raise InputError("the data hold NaN or infinite numbers: fill them in or leave those rows out")
        if isinstance(self.likelihood, CategoricalLikelihood):
            check_classes(y, self.out_features, tuple(x.shape[:-1]))
            values = nn.functional.one_hot(y, self.out_features).to(x.dtype)
        else:
            values = y
        chosen = torch.randperm(rows, generator=generator(seed, "inducing rows"))[: self.inducing].to(x.device)
        self.points.copy_(x[..., chosen, :])
        kernel = self.deep.start(self.inputs(self.points).ii)
        self.output.start(kernel, values[..., chosen, :])
        return self

    def values(self, x: Float[Tensor, "*batch tests dim"], *, full: bool = False) -> tuple[Values, Float[Tensor, "*batch"]]:
        """The outputs' values at `x`, (..., T, d), and the sum of the layers' weighted divergences, (...)."""
        passed = self.deep(self.inputs(self.points, x, full=full))
        return self.output(passed.kernel), passed.penalty

    def forward(self, x: Float[Tensor, "*batch tests dim"]) -> tuple[Float[Tensor, "*batch tests outputs"], Float[Tensor, "*batch tests"]]:
        """The mean (..., T, C) and the variance (..., T) of the outputs' values at `x`, (..., T, d): without noise, and before a softmax."""
        values, _ = self.values(x)
        return values.mean, values.variance

    def elbo(self, x: Float[Tensor, "*batch tests dim"], y: Tensor, n_data: int) -> Float[Tensor, "*batch"]:
        """The objective per datum, in nats.

        Args:
            x: a minibatch, (..., T, d).
            y: its targets, (..., T, C), or classes (..., T).
            n_data: N, the rows of the whole data.

        Raises:
            InputError: targets that do not fit the likelihood, or no data.
        """
        if n_data < 1:
            raise InputError(f"n_data must be at least 1, not {n_data}")
        values, penalty = self.values(x)
        expected = self.likelihood.expected_log_prob(values.mean, values.variance, y).mean(dim=-1)
        divergence = values.divergence / self.out_features if self.tempered else values.divergence
        return expected - (penalty + divergence) / n_data

    def collapsed_bound(self, x: Float[Tensor, "*batch rows dim"], y: Float[Tensor, "*batch rows outputs"]) -> Float[Tensor, "*batch"]:
        """The objective of the whole data, in nats, with the best output values; for Gaussian noise and all data at once.

        Args:
            x: (..., N, d).
            y: (..., N, C).

        Raises:
            InputError: the likelihood is not Gaussian.
        """
        noise = self._noise()
        passed = self.deep(self.inputs(self.points, x))
        return self.output.collapsed_bound(passed.kernel, y, noise) - passed.penalty

    @torch.no_grad()
    def collapse(self, x: Float[Tensor, "*batch rows dim"], y: Float[Tensor, "*batch rows outputs"]) -> "SparseDeepKernelMachine":
        """Set the output values to the best ones for all data; arguments and errors as of `collapsed_bound`."""
        noise = self._noise()
        self.output.collapse(self.deep(self.inputs(self.points, x)).kernel, y, noise)
        return self

    @torch.no_grad()
    def prepared(self) -> "PreparedSparseMachine":
        """A predictor with all factorisations done once: O(L P_i^2) a test point from then on."""
        passed = self.deep(self.inputs(self.points))
        return PreparedSparseMachine(self, passed.factors, factor(passed.kernel.ii, NAME))

    def _noise(self) -> Tensor:
        if not isinstance(self.likelihood, GaussianLikelihood):
            raise InputError("the output values of a categorical likelihood have no closed form: maximise the elbo")
        return self.likelihood.noise


class PreparedSparseMachine:
    """Gives the values of a trained machine whose factorisations are done; see `SparseDeepKernelMachine.prepared`."""

    def __init__(self, machine: SparseDeepKernelMachine, factors: Sequence[LayerFactor], root: Tensor) -> None:
        """
        Args:
            machine: trained.
            factors: of its layers.
            root: the Cholesky factor of the last kernel, (..., P_i, P_i).
        """
        self._machine, self._factors, self._root = machine, factors, root

    @torch.no_grad()
    def __call__(self, x: Tensor, *, full: bool = False) -> tuple[Tensor, Tensor]:
        """The mean (..., T, C) and the variance (..., T), or the covariance (..., T, T), of the outputs' values at `x`, (..., T, d)."""
        machine = self._machine
        gram: Gram = machine.inputs(machine.points, x, full=full)
        values = machine.output(machine.deep(gram, self._factors).kernel, self._root)
        return values.mean, values.variance


def _build(
    state: State,
    *,
    kernels: Sequence[str],
    N_features: int,
    P_inducing: int | None = None,
    P_test: int | None = None,
    out_features: int | None = None,
    dof: float = 1.0,
    relu_bias_var: float = 0.1,
    relu_weight_var: float = 1.0,
    mult_eps: float = 1e-4,
    abs_eps: float = 1e-4,
    likelihood: str = "gaussian",
) -> SparseDeepKernelMachine:
    described = {
        "relu": {"kernel": "relu", "weight_var": relu_weight_var, "bias_var": relu_bias_var},
        "sqexp": {"kernel": "sqexp", "learned": False},
    }
    mean = state[f"{2 * len(kernels)}.mu"]
    return SparseDeepKernelMachine(
        N_features,
        mean.shape[1] if out_features is None else out_features,
        inducing=mean.shape[0] if P_inducing is None else P_inducing,
        kernels=[described[choose("kernel", kernel, described)] for kernel in kernels],
        nu=dof,
        likelihood=likelihood,
        tempered=True,
        form="direct",
        jitter=(mult_eps, abs_eps),
        dtype=str(mean.dtype).removeprefix("torch."),
    )


def _our_key(key: str, last: int) -> str:
    # The official model is a sequence: the features' Gram matrix, then kernel and Gram layer in turn, then the output.
    place, _, name = key.partition(".")
    if key == "X_inducing":
        return "points"
    if not place.isdigit():
        return key
    number, above = int(place), int(place) // 2
    known = {
        "log_weight_var": f"deep.kernels.{above}.log_weight_var",
        "log_bias_var": f"deep.kernels.{above}.log_bias_var",
        "V": f"deep.layers.{above - 1}.form.raw",
        "latent_Gscale": f"deep.layers.{above - 1}.form.log_scale",
        "mu": "output.mean",
        "L": "output.covariance.raw",
    }
    return known.get(name, key) if 0 < number <= last else key


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    machine = cast(SparseDeepKernelMachine, module)
    ours = {_our_key(key, 2 * len(machine.deep.kernels)): tensor for key, tensor in state.items()}
    # What the official modules keep outside their state: the inducing inputs, the noise, the numbers of kernels that have none to learn, and a scale of A.
    outside = {
        key: tensor
        for key, tensor in machine.state_dict().items()
        if key in {"points", "likelihood.log_noise", "output.covariance.log_scale"} or (key.startswith("deep.kernels.") and key not in ours)
    }
    return outside | ours


MODELS = {"sparse-deep-kernel-machine": partial(SparseDeepKernelMachine)}
OFFICIAL = {"deep-kernel-machine": OfficialCheckpoint(build=_build, translate=_translate)}
