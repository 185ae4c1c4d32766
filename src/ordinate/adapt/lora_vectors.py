r"""Low-rank task vectors: what LoRA changed, kept as its factors.

A matrix adapted at rank r differs from the pre-trained one by :math:`\tau^{(j)} = s\,B A` with B (out, r), A (r, in) and :math:`s = \alpha/r`; every other block does not differ. Composed lazily the layer computes

.. math:: W_0 x + \sum_i \lambda_{ij}\, s_i B_i A_i x

by two small products for all vectors together, so that memory is that of the factors.

Sources: Hu et al., LoRA (ICLR 2022), section 4.1; Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5.3 and appendix F.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ordinate.adapt.task_vector import TaskVector
from ordinate.ground.errors import InputError, some
from ordinate.ground.seeds import generator

__all__ = ["Factors", "LowRankComposedModel", "LowRankVector", "attach_low_rank"]


@dataclass(frozen=True)
class Factors:
    """The change s B A of one matrix.

    Attributes:
        up: B, (out, r).
        down: A, (r, in).
        scale: s.
    """

    up: Float[Tensor, "out rank"]
    down: Float[Tensor, "down_rank in"]
    scale: float

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.up).all() and torch.isfinite(self.down).all()):
            raise InputError("the factors of a low-rank task vector must be finite")

    def dense(self) -> Float[Tensor, "out in"]:
        """s B A."""
        return self.scale * self.up @ self.down


class _LowRank(nn.Module):
    """A matrix W to W + s B A; A is drawn as a linear layer's weights are, and B is 0."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, chance: torch.Generator) -> None:
        super().__init__()
        bound = weight.shape[1] ** -0.5
        drawn = (2 * torch.rand(rank, weight.shape[1], generator=chance) - 1) * bound
        self.down = nn.Parameter(drawn.to(weight))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * self.up @ self.down


def attach_low_rank(
    model: nn.Module, rank: int, alpha: float | None = None, *, targets: Sequence[str] | None = None, seed: int = 0
) -> nn.Module:
    """A frozen copy of a model with trainable factors on its matrices, to be fine-tuned; it computes what the model does until then.

    Args:
        model: it is copied.
        rank: r.
        alpha: s is alpha / r; None is r.
        targets: names of matrices; None is those of all linear layers and attention projections.
        seed: of the factors A.

    Raises:
        InputError: a rank below 1, a name that is no matrix of the model, or no matrix.
    """
    if rank < 1:
        raise InputError(f"a low-rank change has rank 1 or more, not {rank}")
    tuned = deepcopy(model).requires_grad_(False)
    matrices = {
        f"{place}.{leaf}" if place else leaf
        for place, module in tuned.named_modules()
        if isinstance(module, nn.Linear | nn.MultiheadAttention)
        for leaf, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 2
    }
    known = {name: parameter for name, parameter in tuned.named_parameters() if parameter.ndim == 2}
    unknown = [name for name in targets or () if name not in known]
    chosen = [name for name in known if name in (matrices if targets is None else set(targets))]
    if unknown or not chosen:
        raise InputError(
            f"{type(model).__name__} has no matrix {some(unknown)}" if unknown else f"{type(model).__name__} has no matrix to adapt"
        )
    for name in chosen:
        place, _, leaf = name.rpartition(".")
        change = _LowRank(known[name], rank, float(rank if alpha is None else alpha), generator(seed, "low rank", name))
        parametrize.register_parametrization(tuned.get_submodule(place), leaf, change)
    return tuned


class LowRankVector(Mapping[str, Factors]):
    """The factors of each matrix that was adapted, by the matrix's name in the model."""

    def __init__(self, factors: Mapping[str, Factors]) -> None:
        """
        Args:
            factors: at least one.

        Raises:
            InputError: none, or factors that do not fit each other.
        """
        if not factors:
            raise InputError("a low-rank task vector needs at least one adapted matrix")
        wrong = [name for name, each in factors.items() if each.up.shape[1] != each.down.shape[0]]
        if wrong:
            raise InputError(f"the two factors of {some(wrong)} have different ranks")
        self._factors = dict(factors)

    @classmethod
    def of(cls, tuned: nn.Module) -> "LowRankVector":
        """The factors of a model that `attach_low_rank` made, copied.

        Raises:
            InputError: it has none.
        """
        found = {}
        for place, module in tuned.named_modules():
            if isinstance(module, _LowRank):
                layer, _, leaf = place.removesuffix(".0").rpartition(".parametrizations.")
                name = f"{layer}.{leaf}" if layer else leaf.removeprefix("parametrizations.")
                found[name] = Factors(module.up.detach().clone(), module.down.detach().clone(), module.scale)
        return cls(found)

    @classmethod
    def from_peft(cls, tuned: nn.Module, adapter: str = "default") -> "LowRankVector":
        """The factors of a model wrapped by `peft`, copied; names are those of the model inside.

        Raises:
            InputError: it has no adapter of that name on a linear layer.
        """
        found = {}
        for place, module in tuned.named_modules():
            down, up, scaling = (getattr(module, name, None) for name in ("lora_A", "lora_B", "scaling"))
            if isinstance(down, nn.ModuleDict) and isinstance(up, nn.ModuleDict) and adapter in down and scaling is not None:
                a, b = down[adapter].weight, up[adapter].weight
                factors = Factors(b.detach().clone(), a.detach().clone(), float(scaling[adapter]))  # type: ignore[operator]
                found[f"{place.removeprefix('base_model.model.')}.weight"] = factors
        return cls(found)

    def __getitem__(self, name: str) -> Factors:
        return self._factors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def numel(self) -> int:
        """How many numbers are kept."""
        return sum(each.up.numel() + each.down.numel() for each in self.values())

    def dense(self, theta0: Mapping[str, Tensor]) -> TaskVector:
        """The same vector with every block of a state dict written out, 0 where nothing was adapted: for partitions, or layers that cannot be composed lazily.

        Raises:
            InputError: a matrix that `theta0` lacks, or of another shape.
        """
        wrong = [name for name, each in self.items() if name not in theta0 or theta0[name].shape != (each.up.shape[0], each.down.shape[1])]
        if wrong:
            raise InputError(f"the low-rank task vector is of another architecture: {some(wrong)}")
        return TaskVector(
            {
                name: self[name].dense().to(entry) if name in self else torch.zeros_like(entry)
                for name, entry in theta0.items()
                if entry.is_floating_point()
            }
        )


class LowRankComposedModel(nn.Module):
    """A frozen model whose linear layers add the scaled low-rank changes of all vectors; only `coef` is trained.

    Attributes:
        model: theta_0, a frozen copy.
        names: the m matrices that some vector adapts.
        tasks: the names of the n vectors.
        coef: (n, m), starting at zero.
    """

    def __init__(self, model: nn.Module, vectors: Mapping[str, LowRankVector]) -> None:
        """
        Args:
            model: theta_0; it is copied.
            vectors: at least one, by name; of any ranks.

        Raises:
            InputError: no vectors, or factors for what is no linear layer of the model or of another shape.
        """
        super().__init__()
        if not vectors:
            raise InputError("a composition needs at least one task vector")
        self.model = deepcopy(model).requires_grad_(False)
        self.tasks = tuple(vectors)
        self.names = tuple(dict.fromkeys(name for vector in vectors.values() for name in vector))
        for number, name in enumerate(self.names):
            layer = self._layer(name)
            mine = [vector.get(name) for vector in vectors.values()]
            ranks = torch.tensor([0 if each is None else each.down.shape[0] for each in mine])
            known = [each for each in mine if each is not None]
            if any((each.up.shape[0], each.down.shape[1]) != tuple(layer.weight.shape) for each in known):
                raise InputError(f"the low-rank task vectors of {name} have another shape than its {tuple(layer.weight.shape)}")
            self.register_buffer(f"down_{number}", torch.cat([each.down for each in known]).to(layer.weight))
            self.register_buffer(f"up_{number}", torch.cat([each.scale * each.up for each in known], dim=1).to(layer.weight))
            self.register_buffer(f"owner_{number}", torch.arange(len(mine)).repeat_interleave(ranks).to(layer.weight.device))
        parameter = next(self.model.parameters())
        self.coef = nn.Parameter(
            torch.zeros(len(vectors), len(self.names), device=parameter.device, dtype=torch.promote_types(parameter.dtype, torch.float32))
        )

    def _layer(self, name: str) -> nn.Linear:
        place, _, leaf = name.rpartition(".")
        layer = dict(self.model.named_modules()).get(place)
        if leaf != "weight" or not isinstance(layer, nn.Linear):
            raise InputError(
                f"{name} is not the matrix of a linear layer of {type(self.model).__name__}: compose its vectors densely, see LowRankVector.dense"
            )
        return layer

    def _scaled(self, number: int) -> Tensor:
        """The coefficient of each of the stacked ranks of a matrix."""
        return self.coef[getattr(self, f"owner_{number}"), number]

    def _hook(self, number: int) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            narrow = inputs[0] @ getattr(self, f"down_{number}").T * self._scaled(number).to(output.dtype)
            return output + narrow @ getattr(self, f"up_{number}").T

        return add

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The composed model on the inputs of the model."""
        # Hooked for the call alone, so that a copy of this module hooks its own layers.
        handles = [self._layer(name).register_forward_hook(self._hook(number)) for number, name in enumerate(self.names)]
        try:
            return self.model(*inputs, **options)
        finally:
            for handle in handles:
                handle.remove()

    def delta(self) -> dict[str, Tensor]:
        """What is added to each adapted matrix."""
        return {
            name: (getattr(self, f"up_{number}") * self._scaled(number)) @ getattr(self, f"down_{number}")
            for number, name in enumerate(self.names)
        }

    @torch.no_grad()
    def fold(self) -> nn.Module:
        """An ordinary model with the composed weights, in evaluation mode."""
        folded = deepcopy(self.model).requires_grad_(True)
        parameters = dict(folded.named_parameters())
        for name, change in self.delta().items():
            parameters[name].add_(change)
        return folded.eval()
