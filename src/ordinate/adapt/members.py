"""Members of a rich representation: networks trained alike but for the seed, or snapshots of one training.

A member's seed decides on its initial weights and on the order of its data; everything else is shared. Networks that fill no device are trained at once, as one batched module; large ones after each other, or in processes of
their own. Snapshots are copies of one network along a training at a constant, rather high rate: cheaper, and less different from each other.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (CAT-n and CAT5-S).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.adapt.concat import check_distinct
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.train.ensemble import Ensemble, each_its_own, fit_ensemble
from ordinate.train.fit import Batch, Batches, StepEnd, fit
from ordinate.train.recipe import Recipe

__all__ = ["train_members", "train_members_at_once", "train_snapshots"]


def train_members(
    factory: Callable[[], nn.Module],
    train: Callable[[nn.Module, int], Any],
    seeds: Sequence[int],
    *,
    devices: Sequence[str] = ("cpu",),
    processes: int = 1,
) -> list[nn.Module]:
    """Train one network a seed, each by itself.

    Args:
        factory: makes a network with the weights that torch's generator gives; it is seeded by the member's seed.
        train: `train(network, seed)` trains it in place, on the device where it is; the order of its data must follow from the seed.
        seeds: one a member, all different.
        devices: where members are trained, in turn.
        processes: how many are trained at the same time, each in a process of its own; `factory` and `train` must then be picklable (functions of a module).

    Returns:
        The members in the order of the seeds, on the CPU, in evaluation mode.

    Raises:
        InputError: no seeds, one twice, no devices or processes, or two members that came out the same.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"members need a seed each, all different, not {list(seeds)}")
    if not devices or processes < 1:
        raise InputError(f"members are trained on one or more devices by one or more processes, not {list(devices)} by {processes}")
    jobs = [(seed, devices[number % len(devices)]) for number, seed in enumerate(seeds)]
    work = partial(_train_one, factory, train)
    if processes == 1:
        members = [work(job) for job in jobs]
    else:
        with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
            members = list(pool.map(work, jobs))
    check_distinct(members)
    return members


def _train_one(factory: Callable[[], nn.Module], train: Callable[[nn.Module, int], Any], job: tuple[int, str]) -> nn.Module:
    seed, device = job
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "init"))
        network = factory().to(device)
        train(network, seed)
    return network.cpu().eval()


def train_members_at_once(
    factory: Callable[[], nn.Module],
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Callable[[int], Batches],
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
) -> list[nn.Module]:
    """Train one network a seed, all of them as one batched module: for networks that do not fill the device one by one.

    Args:
        factory: as for :func:`train_members`.
        objective: of one member, `objective(network, batch)` -> scalar, without parameters of its own.
        batches: from a seed to the member's batches, all of one shape.
        recipe: for all; see :func:`ordinate.train.ensemble.fit_ensemble`.
        seeds: one a member, all different.
        device: where.

    Returns:
        The members in the order of the seeds, on the CPU, in evaluation mode.

    Raises:
        InputError: no seeds, one twice, a member that diverged, or whatever `fit_ensemble` refuses.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"members need a seed each, all different, not {list(seeds)}")
    ensemble = Ensemble.make(factory, [derive(seed, "init") for seed in seeds])
    own = each_its_own([batches(seed) for seed in seeds])
    _, losses = fit_ensemble(ensemble, objective, own, recipe, own=True, seed=seeds[0], device=device)
    lost = [seed for seed, fine in zip(seeds, torch.isfinite(losses).tolist(), strict=True) if not fine]
    if lost:
        raise InputError(f"the member of seed {lost[0]} diverged: lower the learning rate")
    members = [ensemble.cpu().member(index).eval() for index in range(ensemble.count)]
    check_distinct(members)
    return members


def train_snapshots(
    network: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Batches,
    recipe: Recipe,
    count: int,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> list[nn.Module]:
    """Train one network, and keep it at `count` evenly spaced steps, the last included.

    Args:
        network: trained in place; it ends as the last snapshot.
        objective, batches, seed, device: see :func:`ordinate.train.fit.fit`.
        recipe: with a constant rate, rather a high one: snapshots along a rate that falls hardly differ.
        count: of snapshots.

    Returns:
        The snapshots, the earliest first, on the CPU, in evaluation mode.

    Raises:
        InputError: a rate that is not constant, or fewer steps than snapshots.
    """
    if recipe.schedule != "constant":
        raise InputError(f"snapshots are taken along a constant rate, schedule='constant', not {recipe.schedule!r}")
    if not 1 <= count <= recipe.steps:
        raise InputError(f"of {recipe.steps} steps there are 1 to {recipe.steps} snapshots, not {count}")
    wanted = {recipe.steps * number // count for number in range(1, count + 1)}
    kept: list[nn.Module] = []

    def keep(end: StepEnd) -> None:
        if end.step in wanted:
            kept.append(deepcopy(end.model).cpu().eval())

    fit(network, objective, batches, recipe, seed=seed, device=device, callbacks=[keep])
    return kept
