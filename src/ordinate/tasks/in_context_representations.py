r"""Labels that are linear in a fixed representation, learnt in context; then where in the network the representation is computed, and whether the layers above it learn in context by themselves.

Probes (`ordinate.analyze.layer_probes`) look for :math:`x_i`, :math:`\Phi(x_i)`, the layers of :math:`\Phi`, the example before and the answer of the Bayes predictor in the states of all layers, at x tokens and at y tokens. The layer at which
:math:`\Phi(x_i)` is read about as well as anywhere at x tokens is the break point: the first whose error lies within a tenth of its whole fall above the least. The blocks above it are then frozen and pasted (`ordinate.adapt.paste`) on embeddings that are trained for linear regression on the unit sphere, with these controls: the same paste
on an untrained network, and the embedding of one layer alone.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), sections 5 and 6.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ordinate.adapt.paste import EMBEDDINGS, one_layer_alone, paste
from ordinate.analyze.in_context.predictors import Bayes, Predictor
from ordinate.analyze.in_context.representations import OnRepresentation, representation_families
from ordinate.analyze.layer_probes import Target
from ordinate.data.in_context.prompts import PromptBatches, Prompts
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.data.in_context.sphere import SpherePrompts
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.nn.fixed_representation import FixedRepresentation
from ordinate.objectives.in_context import InContextRegression
from ordinate.tasks.in_context_looked_into import LookedInto, Seen, appearance, fresh_like, over_layers, probe_prompts, read_numbers, trend
from ordinate.tasks.training import make_seeded
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "RepresentationLearning", "before"]

_MEASURED = ("Phi-ridge", "ridge on x", "zero")
_RELATIVES = 30


def before(values: Tensor) -> Tensor:
    """What stood one example earlier, NaN at the first."""
    return torch.cat([torch.full_like(values[:, :1], torch.nan), values[:, :-1]], dim=1)


class RepresentationLearning(LookedInto):
    """Regression on one fixed representation. Arms as `InContext` has them; the predictors are those of `representation_families`."""

    name = "in-context-representations"

    def __init__(
        self,
        phi: FixedRepresentation,
        n: int,
        *,
        noise: float = 0.1,
        steps: int,
        batch_size: int = 64,
        lr: float = 1e-3,
        hidden: int = 64,
        layers: int = 4,
        heads: int = 4,
        tested: int = 500,
        probed: int = 2_000,
        paste_steps: int = 500,
        pastes: Sequence[str] = EMBEDDINGS,
    ) -> None:
        """
        Args:
            phi: the representation.
            n: the pairs of a prompt, at least 2 D.
            noise: the standard deviation of the labels' noise.
            steps, batch_size, lr, hidden, layers, heads, tested: see :class:`ordinate.tasks.in_context.InContext`.
            probed: prompts that probes are fitted on, and as many to test them; 0 leaves probes out, and pastes with them.
            paste_steps: training steps of every pasted embedding and control; 0 leaves them out.
            pastes: the embeddings that are pasted.

        Raises:
            InputError: too short prompts.
        """
        if n <= 2 * phi.D:
            raise InputError(f"prompts must hold more than 2 D = {2 * phi.D} pairs, not {n}: risks are compared after as many")
        source = RepresentationPrompts([phi], phi.d, n, noise=noise)
        relatives = [FixedRepresentation(phi.d, phi.D, len(phi.matrices), seed=derive("relative", number)) for number in range(_RELATIVES)]
        self.predictors = representation_families(source, relatives)
        super().__init__(
            source,
            {name: self.predictors[name] for name in _MEASURED},  # the others are arms only: they take longer than all the rest
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            hidden=hidden,
            layers=layers,
            heads=heads,
            tested=tested,
            asked=0,
            places=(phi.D, 2 * phi.D, n - 1),
        )
        self.phi, self.noise = phi, noise
        self.probed, self.paste_steps, self.pastes = probed, paste_steps, tuple(pastes)
        self.title = f"In-context regression on a representation, d = {phi.d}, D = {phi.D}, {len(phi.matrices)} layers, n = {n}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "RepresentationLearning":
        """Prompts of a size: ``"d=4,D=4,layers=2,n=12,noise=0.1"``, of which all are optional.

        Args:
            data: the sizes.
            setting: its scale decides on steps.
            strict: no difference: prompts are drawn, and nothing in them is unreadable.

        Raises:
            InputError: something else, or a number out of range.
        """
        sizes = read_numbers(cls.name, data, d=4, D=4, layers=2, n=12, noise=0.1)
        phi = FixedRepresentation(int(sizes["d"]), int(sizes["D"]), int(sizes["layers"]))
        return cls(
            phi,
            int(sizes["n"]),
            noise=sizes["noise"],
            steps=setting.pick(smoke=300, full=3_000, gpu=60_000),
            paste_steps=setting.pick(smoke=100, full=500, gpu=5_000),
        )

    def look(self, model: InContextTransformer, run: Run) -> Seen:
        """Probes of the network and of an untrained one, then pastes."""
        seen = Seen()
        if not self.probed:
            return seen
        targets = self._targets()
        table = probe_prompts(model, self.source, targets, self.probed, run.seed, run.setting.device)
        fresh = fresh_like(model, derive(run.seed, "untrained")).to(run.setting.device)
        control = probe_prompts(fresh, self.source, targets, self.probed, run.seed, run.setting.device)
        seen.add_probes(table, dict.fromkeys(targets, "x"))
        seen.add_probes(table, {"Phi(x)": "y", "x": "y"})
        seen.curves["Phi(x) at x of an untrained network, error over layers"] = over_layers(control.curve("x", "Phi(x)"))
        here, there, answer = table.curve("x", "Phi(x)"), table.curve("y", "Phi(x)"), table.curve("x", "answer")
        untrained = control.curve("x", "Phi(x)")
        point = appearance(here, 0.9)
        seen.metrics |= {
            "Phi(x) at x, least": min(here),
            "Phi(x) at x, dip": min(here) / here[0],
            "Phi(x) at x, dip untrained": min(untrained) / untrained[0],
            "Phi(x) at x, rise": here[-1] - min(here),
            "best layer": float(table.best("x", "Phi(x)")),
            "layers above the best": float(len(here) - 1 - table.best("x", "Phi(x)")),
            "break point": float(point),
            "Phi(x) at y, least": min(there),
            "copied after": float(appearance(there) - appearance(here)),
            "answer at x, top": answer[-1],
            "answer at x, trend": trend(answer),
        }
        seen.notes["probe errors"] = {f"{row['target']} at {row['token']}, {row['layer']}": row["error"] for row in table.rows()}
        seen.notes["Phi(x) at x by position"] = table.by_position[:, 0, list(targets).index("Phi(x)")].tolist()
        if self.paste_steps:
            # At least one block is left above.
            self._paste(seen, model, fresh, min(max(point, 1), len(model.blocks) - 1), run)
        return seen

    def _targets(self) -> dict[str, Target]:
        def answer(prompts: Prompts) -> Tensor:
            return OnRepresentation(Bayes(self.noise**2), self.phi)(prompts.x, prompts.y)[..., None]

        def inside(prompts: Prompts, layer: int) -> Tensor:
            return self.phi.layers(prompts.x)[layer]

        # The first answer is 0, whatever the prompt.
        targets = {
            "x": Target(lambda prompts: prompts.x),
            "Phi(x)": Target(lambda prompts: self.phi(prompts.x)),
            "answer": Target(answer, first=1),
            "x before": Target(lambda prompts: before(prompts.x), first=1),
            "Phi(x) before": Target(lambda prompts: before(self.phi(prompts.x)), first=1),
        }
        for layer in range(len(self.phi.matrices) - 1):
            targets[f"layer {layer + 1} of Phi"] = Target(partial(inside, layer=layer))
        return targets

    def _paste(self, seen: Seen, model: InContextTransformer, fresh: InContextTransformer, start: int, run: Run) -> None:
        source = SpherePrompts(self.phi.D, self.source.n, noise=self.noise)
        width = source.token_width
        contenders: dict[str, Callable[[], nn.Module]] = {}
        for kind in self.pastes:
            contenders[f"pasted, {kind}"] = partial(paste, model, start, width, kind)
            if kind != "linear":
                contenders[f"pasted on untrained, {kind}"] = partial(paste, fresh, start, width, kind)
        contenders["one layer alone"] = partial(one_layer_alone, model, width)
        test = source.sample(self.tested, generator("paste test"))
        place = 2 * self.phi.D
        for name, make in contenders.items():
            network = make_seeded(make, derive(run.seed, name))
            recipe = Recipe(steps=self.paste_steps, lr=1e-2, betas=(0.9, 0.98), warmup=self.paste_steps // 10, clip=1.0)
            fit(
                network,
                InContextRegression(),
                PromptBatches(source, self.batch_size, derive(run.seed, "paste")),
                recipe,
                seed=run.seed,
                device=run.setting.device,
            )
            errors = _squared_errors(network.eval(), test, run.setting.device)
            seen.metrics[name] = errors[place].item()
            seen.curves[f"{name}, risk over pairs"] = [(float(i), error) for i, error in enumerate(errors.tolist())]
        reference: Predictor = Bayes(source.noise**2, source.tau**2)
        seen.metrics["ridge on z"] = (reference(test.x, test.y) - test.y)[:, place].square().mean().item()
        seen.notes |= {"pasted from block": start, "chance": source.chance}


@torch.no_grad()
def _squared_errors(network: nn.Module, prompts: Prompts, device: str) -> Tensor:
    batch = prompts.batch()
    return (network(batch["tokens"].to(device))[:, ::2].cpu() - batch["target"]).square().mean(dim=(0, 2))


TASKS = {RepresentationLearning.name: RepresentationLearning}
