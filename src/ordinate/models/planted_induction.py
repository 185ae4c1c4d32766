r"""A transformer with an induction circuit that is known because it was put there: one previous-token head and one induction head among heads at random.

The residual stream has orthogonal subspaces for the token, the token before it, the prediction and the position. The previous-token head looks at position i - 1 and copies its token into the second; the induction head, in a later layer,
looks for the position whose previous token is the present one and copies its token into the third, which the logits read. All other heads have the random weights that layers here begin with; MLPs add nothing. Where the heads stand is drawn.

On a sequence whose second half repeats its first, the model therefore foretells the next token; where the halves are unrelated it cannot.

Source of the circuit: Olsson et al., In-context Learning and Induction Heads (2022).
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.data.contrasts import Edge, Node
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.sequence import Sequence
from ordinate.nn.heads import Heads

__all__ = ["PlantedCircuit", "planted_induction"]

_SHARP = 3.0
_LOUD = 20.0


@dataclass(frozen=True)
class PlantedCircuit:
    """A model and what it is made of.

    Attributes:
        model: in evaluation mode.
        truth: the layer and number of the heads that make the circuit.
        roles: the same by what they do.
    """

    model: Sequence
    truth: tuple[Node, ...]
    roles: dict[str, Node]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """From the first head to the second, and from the second to the output."""
        return (self.truth[0], self.truth[1]), (self.truth[1], None)


def planted_induction(
    seed: int = 0, *, layers: int = 3, heads: int = 4, vocabulary: int = 32, length: int = 24, noise: float = 0.4
) -> PlantedCircuit:
    """Make one.

    Args:
        seed: of the places, the subspaces and the random heads.
        layers: at least 2.
        heads: of each layer.
        vocabulary: V; it is also a head's width, so that D = V times the heads.
        length: T, the longest sequence.
        noise: what the output weights of the random heads are multiplied with. At 0.4 the circuit makes no mistake, from 0.5 on it makes some, and at 1 it is drowned.

    Raises:
        InputError: fewer than 2 layers, or subspaces that do not fit into D: 3 V + T + 1 of them are needed, and T at most V.
    """
    dim = vocabulary * heads
    if layers < 2:
        raise InputError(f"an induction circuit needs 2 layers, not {layers}")
    if length > vocabulary or 3 * vocabulary + length + 1 > dim:
        raise InputError(
            f"{heads} heads of width {vocabulary} have no room for {3 * vocabulary + length + 1} directions with {length} positions: take more heads or fewer positions"
        )
    draws = generator(seed, "planted")
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "heads"))
        model = Sequence(vocabulary=vocabulary, dim=dim, depth=layers, heads=heads, max_length=length, mlp_ratio=1 / dim, tied=False).eval()
    # Orthogonal to the constant vector, which the layers' norms take off.
    start = torch.randn(dim, dim, generator=draws)
    start[:, 0] = 1
    directions = torch.linalg.qr(start).Q[:, 1:].mT
    token, before, answer, position = directions[: 3 * vocabulary + length].split([vocabulary, vocabulary, vocabulary, length])
    first = int(torch.randint(layers - 1, (1,), generator=draws))
    second = int(torch.randint(first + 1, layers, (1,), generator=draws))
    places = [(layer, int(torch.randint(heads, (1,), generator=draws))) for layer in (first, second)]
    nowhere = torch.zeros(vocabulary - length, dim)
    # Channel j of the previous-token head means position j to its keys, and position j + 1 to its queries; the first position, which has none before it, looks at itself.
    here = torch.cat([position, nowhere])
    after = torch.cat([position[:1] + position[1:2], position[2:], torch.zeros(1, dim), nowhere])
    with torch.no_grad():
        model.embedding.weight.copy_(token)
        model.get_parameter("backbone.positions.table").copy_(position)
        for name, module in model.named_modules():
            if name.endswith("feed_forward.contract"):
                for parameter in module.parameters():
                    nn.init.zeros_(parameter)
            if name.endswith("heads.out"):
                for parameter in module.parameters():
                    parameter.mul_(noise)
        _plant(model, places[0], query=after, key=here, value=token, output=before)
        _plant(model, places[1], query=token, key=before, value=token, output=answer)
        model.head.weight.copy_(_LOUD * answer / dim**0.5)
    return PlantedCircuit(model, (places[0], places[1]), {"previous token": places[0], "induction": places[1]})


def _plant(
    model: Sequence,
    place: tuple[int, int],
    *,
    query: Float[Tensor, "width dim"],
    key: Float[Tensor, "width dim"],
    value: Float[Tensor, "width dim"],
    output: Float[Tensor, "width dim"],
) -> None:
    """Make a head read these directions, a channel each, and write one for each channel, of norm 1 where the stream has norm sqrt(2)."""
    module = cast(Heads, model.get_submodule(f"backbone.blocks.{place[0]}.mixer.heads"))
    dim, width = query.shape[1], module.width
    channels = slice(place[1] * width, (place[1] + 1) * width)
    for part, rows in enumerate((_SHARP * query, key, value)):
        module.qkv.weight[part * dim : (part + 1) * dim][channels] = rows
        module.qkv.bias[part * dim : (part + 1) * dim][channels] = 0
    module.out.weight[:, channels] = output.mT / (dim / 2) ** 0.5
