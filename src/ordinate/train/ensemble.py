r"""Ensembles of many small networks at once: E members of one architecture whose parameters are stacked along a first dimension and which run as one batched call (`torch.func.vmap`).

On small networks the time goes into starting operations, not into arithmetic; one batched operation for all members takes little longer than one for a single member. Members differ in their weights, and
in training also in their batches or learning rates: seeds, sweeps and statistics over initialisations come out of one run.

No member sees another: the loss of the ensemble is the sum of the members' losses, so that the gradient of each is its own.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ordinate.ground.errors import InputError
from ordinate.train.fit import Batch, Batches, fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

__all__ = ["Ensemble", "EnsembleLoss", "each_its_own", "fit_ensemble"]


class _Applied(nn.Module):
    """`function(model, ...)` as a module, so that the function may use every method of the model while its parameters are replaced."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.model, *inputs)


class Ensemble(nn.Module):
    """E networks of one architecture as one module.

    Attributes:
        stacked: the architecture, with parameters and buffers (E, ...) in place of a member's own.
        count: E.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """
        Args:
            members: at least one; they are copied, and must agree in the names, shapes and dtypes of their parameters and buffers.

        Raises:
            InputError: no members, or two that differ.
        """
        super().__init__()
        if not members:
            raise InputError("an ensemble needs at least one member")
        states = [_tensors(member) for member in members]
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in states[0].items()}
        for number, state in enumerate(states):
            if {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()} != shapes:
                raise InputError(f"members 0 and {number} of the ensemble differ in the names, shapes or dtypes of their parameters")
        self.count = len(members)
        self.stacked = deepcopy(members[0])
        for name, parameter in list(self.stacked.named_parameters()):
            stacked = nn.Parameter(torch.stack([state[name].detach() for state in states]), parameter.requires_grad)
            stacked.__dict__["decayed"] = parameter.ndim > 1  # a matrix of biases is no matrix
            _put(self.stacked, parameter, stacked)
        for name, _ in list(self.stacked.named_buffers()):
            place, _, leaf = name.rpartition(".")
            setattr(self.stacked.get_submodule(place), leaf, torch.stack([state[name] for state in states]))

    @classmethod
    def make(cls, make: Callable[[], nn.Module], seeds: Sequence[int]) -> "Ensemble":
        """One member a seed: `make` is called with torch's generator seeded by each in turn, and the generator is left as it was."""
        members = []
        with torch.random.fork_rng([]):
            for seed in seeds:
                torch.manual_seed(seed)
                members.append(make())
        return cls(members)

    def apply_to_each(self, function: Callable[..., Any], *inputs: Any, own: bool = False) -> Any:
        """`function(member, *inputs)` for every member at once.

        Args:
            function: of a member and the inputs; gives a tensor, or tensors in dictionaries, lists or tuples. It may call any method of the member. Random operations in it differ from member to member.
            inputs: tensors, or tensors in dictionaries, lists or tuples.
            own: whether every member has inputs of its own, along a first dimension E, or all get the same.

        Returns:
            What the function gives, with a first dimension E.

        Raises:
            InputError: inputs of the members' own without that dimension.
        """
        if own:
            _check_own(inputs, self.count)
        applied = _Applied(self.stacked, function)
        state = {f"model.{name}": tensor for name, tensor in [*self.stacked.named_parameters(), *self.stacked.named_buffers()]}

        def call(state: dict[str, Tensor], *inputs: Any) -> Any:
            return functional_call(applied, state, inputs)

        return vmap(call, in_dims=(0, *[0 if own else None for _ in inputs]), randomness="different")(state, *inputs)

    def forward(self, *inputs: Any, own: bool = False) -> Any:
        """What every member gives: (E, ...). See `apply_to_each`."""
        return self.apply_to_each(lambda member, *given: member(*given), *inputs, own=own)

    def member(self, index: int) -> nn.Module:
        """A network of its own with the weights that member `index` has now.

        Raises:
            InputError: there is no such member.
        """
        if not 0 <= index < self.count:
            raise InputError(f"the ensemble has members 0 to {self.count - 1}, not {index}")
        member = deepcopy(self.stacked)
        for _, parameter in list(member.named_parameters()):
            _put(member, parameter, nn.Parameter(parameter.detach()[index].clone(), parameter.requires_grad))
        for name, buffer in list(member.named_buffers()):
            place, _, leaf = name.rpartition(".")
            setattr(member.get_submodule(place), leaf, buffer[index].clone())
        return member


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict([*module.named_parameters(), *module.named_buffers()])


def _put(module: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Replace a parameter wherever it stands: tied weights stay tied."""
    for part in module.modules():
        for leaf, parameter in part._parameters.items():
            if parameter is old:
                part._parameters[leaf] = new


def _check_own(inputs: Any, count: int) -> None:
    if isinstance(inputs, Tensor):
        if not inputs.ndim or len(inputs) != count:
            raise InputError(f"inputs of the members' own have a first dimension of {count}, one a member, not {tuple(inputs.shape)}")
    elif isinstance(inputs, Mapping):
        for value in inputs.values():
            _check_own(value, count)
    elif isinstance(inputs, list | tuple):
        for value in inputs:
            _check_own(value, count)


class EnsembleLoss(nn.Module):
    """The objective of an ensemble: the sum of its members' losses, each times the member's rate.

    A member whose loss is not finite no longer counts: it has diverged alone, and the others go on.

    Attributes:
        losses: (E,) of the last step, before the rates; NaN or infinite for members that diverged. Empty before the first step.
    """

    def __init__(
        self, objective: Callable[[nn.Module, Batch], Tensor], *, rates: Float[Tensor, " members"] | None = None, own: bool = False
    ) -> None:
        """
        Args:
            objective: of one member: `objective(model, batch)` -> scalar. It has no parameters of its own.
            rates: a factor on every member's loss. Under plain or momentum SGD without weight decay that is the factor on its learning rate.
            own: whether every member has a batch of its own, (E, B, ...); see `each_its_own`.

        Raises:
            InputError: rates that are not positive, or an objective with parameters to train.
        """
        super().__init__()
        if rates is not None and not bool((rates > 0).all()):
            raise InputError("the rates of an ensemble's members must be positive")
        if isinstance(objective, nn.Module) and any(True for _ in objective.parameters()):
            raise InputError("an ensemble's objective has no parameters of its own: put what is trained into the members")
        self.objective = objective
        self.rates = rates
        self.own = own
        self.losses = torch.empty(0)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum over the members of `model`, an `Ensemble`.

        Raises:
            InputError: another model, or a number of rates that is not the number of members.
        """
        if not isinstance(model, Ensemble):
            raise InputError(f"this objective is an ensemble's, not a {type(model).__name__}'s")
        if self.rates is not None and len(self.rates) != model.count:
            raise InputError(f"there are {len(self.rates)} rates for {model.count} members")
        losses = model.apply_to_each(self.objective, batch, own=self.own)
        self.losses = losses.detach()
        weighted = losses if self.rates is None else losses * self.rates.to(losses)
        return torch.where(torch.isfinite(weighted), weighted, 0.0).sum()


def each_its_own(batches: Sequence[Batches]) -> Batches:
    """One source of batches a member to a source of batches (E, B, ...), in which every member has its own."""

    def stacked(step: int, rank: int = 0, world: int = 1) -> Batch:
        parts = [source(step, rank, world) for source in batches]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    return stacked


def fit_ensemble(
    ensemble: Ensemble,
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Batches,
    recipe: Recipe,
    *,
    rates: Float[Tensor, " members"] | None = None,
    own: bool = False,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    resume: bool = False,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    evaluate_every: int | None = None,
    scale: Callable[[str], float] | None = None,
    progress: bool = False,
) -> tuple[History, Float[Tensor, " members"]]:
    """Train every member as `fit` would train it alone.

    Args:
        ensemble: trained in place.
        objective: of one member; see `EnsembleLoss`.
        batches: shared by the members, or with `own` a batch (E, B, ...) of their own; see `each_its_own`.
        recipe: for all members. A norm of the gradient to clip by would be over all members together, so there is none.
        rates: a factor on every member's learning rate, (E,); SGD without weight decay only.
        own: whether every member has batches of its own.
        seed, device, folder, resume, evaluate, evaluate_every, progress: see :func:`ordinate.train.fit.fit`.
        scale: the factor on the learning rate of a parameter, by its name in a member.

    Returns:
        The curves (``"loss"`` is the sum over the members) and the members' losses (E,) at the last step taken here, not finite for those that diverged.

    Raises:
        InputError: a recipe that members cannot follow apart from each other, or whatever `fit` refuses.
    """
    if recipe.clip is not None or recipe.optimizer == "lbfgs":
        raise InputError(
            "an ensemble is trained with sgd or adamw and without clip: a line search or a norm over all members would tie them together"
        )
    if rates is not None and (recipe.optimizer != "sgd" or recipe.weight_decay):
        raise InputError("learning rates of the members' own are factors on their losses, which needs optimizer='sgd' and weight_decay=0")
    if own and recipe.accumulate > 1:
        raise InputError("batches of the members' own cannot be cut: leave accumulate at 1")
    loss = EnsembleLoss(objective, rates=rates, own=own)
    history = fit(
        ensemble,
        loss,
        batches,
        recipe,
        seed=seed,
        device=device,
        folder=folder,
        resume=resume,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
        scale=None if scale is None else lambda name: scale(name.removeprefix("stacked.")),
        progress=progress,
    )
    return history, loss.losses
