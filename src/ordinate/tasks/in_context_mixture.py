r"""Prompts that have one of several representations, learnt in context; then whether all representations are computed for every prompt, and where the one that fits is selected.

Probes look, on prompts of the first representation, for every :math:`\Phi_k(x_i)` and for the answer :math:`\hat y_{i,k}` of ridge regression on each. Where selection comes after K regressions, the answers of the wrong ones are read best in
the middle of the network, and less well at its top.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 6.3.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

from torch import Tensor

from ordinate.analyze.in_context.predictors import Bayes
from ordinate.analyze.in_context.representations import OnRepresentation, RightRepresentation, mixture_families
from ordinate.analyze.layer_probes import Target
from ordinate.data.in_context.prompts import Prompts
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Outcome, Run
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.nn.fixed_representation import FixedRepresentation
from ordinate.tasks.in_context_looked_into import LookedInto, Seen, fresh_like, probe_prompts, read_numbers

__all__ = ["TASKS", "MixtureLearning"]

ORACLE = "oracle"
_MEASURED = ("Bayes mixture", "concatenated ridge", "zero")


class MixtureLearning(LookedInto):
    """Regression on one of several representations. Arms as `InContext` has them; the predictors are those of `mixture_families`, and the ``"oracle"`` that is told each prompt's representation."""

    name = "in-context-mixture"

    def __init__(
        self,
        phis: Sequence[FixedRepresentation],
        n: int,
        *,
        noise: float = 0.1,
        steps: int,
        batch_size: int = 64,
        lr: float = 1e-3,
        hidden: int = 64,
        layers: int = 4,
        heads: int = 4,
        tested: int = 1_000,
        probed: int = 2_000,
    ) -> None:
        """
        Args:
            phis: the representations, at least two, of one width D.
            n: the pairs of a prompt, more than 3 D.
            noise: the standard deviation of the labels' noise, positive.
            steps, batch_size, lr, hidden, layers, heads, tested: see :class:`ordinate.tasks.in_context.InContext`.
            probed: prompts that probes are fitted on, and as many to test them; 0 leaves probes out.

        Raises:
            InputError: fewer than two representations, no noise, or too short prompts.
        """
        if len(phis) < 2:
            raise InputError(f"a mixture has at least two representations, not {len(phis)}")
        if n <= 3 * phis[0].D:
            raise InputError(f"prompts must hold more than 3 D = {3 * phis[0].D} pairs, not {n}: risks are compared after as many")
        source = RepresentationPrompts(phis, phis[0].d, n, noise=noise)
        self.predictors = mixture_families(source)
        super().__init__(
            source,
            {name: self.predictors[name] for name in _MEASURED},
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            hidden=hidden,
            layers=layers,
            heads=heads,
            tested=tested,
            asked=0,
            places=(source.D, 2 * source.D - 1, 3 * source.D),
        )
        self.mixture, self.phis, self.probed = source, tuple(phis), probed
        self.title = f"In-context regression on one of {len(phis)} representations, D = {source.D}, n = {n}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "MixtureLearning":
        """Prompts of a size: ``"K=2,d=3,D=3,layers=2,n=12,noise=0.1"``, of which all are optional.

        Args:
            data: the sizes.
            setting: its scale decides on steps.
            strict: no difference: prompts are drawn, and nothing in them is unreadable.

        Raises:
            InputError: something else, or a number out of range.
        """
        sizes = read_numbers(cls.name, data, K=2, d=3, D=3, layers=2, n=12, noise=0.1)
        d, D, layers = int(sizes["d"]), int(sizes["D"]), int(sizes["layers"])
        phis = [FixedRepresentation(d, D, layers, seed=number) for number in range(int(sizes["K"]))]
        return cls(phis, int(sizes["n"]), noise=sizes["noise"], steps=setting.pick(smoke=300, full=3_000, gpu=60_000))

    def arm(self, name: str) -> Arm:
        """``"transformer"``, ``"oracle"``, or one of the families of exact predictors."""
        if name == ORACLE:
            return Arm(name, lambda **_: [], role="baseline", note="is told each prompt's representation")
        return super().arm(name)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """As `LookedInto`; the oracle is scored on its risk alone."""
        if arm.name != ORACLE:
            return super().run(arm, run)
        test = self.test()
        said = RightRepresentation(self.phis, self.mixture.noise**2)(test.x, test.y, test.latent["kind"])
        errors = (said - test.y).square().mean(dim=0)
        metrics = {"risk": errors[1:].mean().item()} | {f"risk@{place}": errors[place].item() for place in self.places}
        others = {name: members[0](test.x, test.y) for name, members in self.families.items()}
        metrics |= {f"SPD {name}": (answer - said)[:, 1:].square().mean().item() / test.x.shape[2] for name, answer in others.items()}
        return Outcome(metrics, curves={"risk over pairs": [(float(i), error) for i, error in enumerate(errors.tolist()) if i]})

    def look(self, model: InContextTransformer, run: Run) -> Seen:
        """Probes of the network and of an untrained one, on prompts of the first representation."""
        seen = Seen()
        if not self.probed:
            return seen
        source = RepresentationPrompts(self.phis[:1], self.mixture.d, self.mixture.n, noise=self.mixture.noise, layout=self.mixture.layout)
        device, targets = run.setting.device, self._targets()
        table = probe_prompts(model, source, targets, self.probed, run.seed, device)
        control = probe_prompts(fresh_like(model, derive(run.seed, "untrained")).to(device), source, targets, self.probed, run.seed, device)
        seen.add_probes(table, dict.fromkeys(targets, "x"))
        right = table.curve("x", "right answer")
        others = range(1, len(self.phis))
        wrong = [max(errors) for errors in zip(*(table.curve("x", f"wrong answer {k}") for k in others), strict=True)]
        absent = [table.curve("x", f"Phi {k}") for k in others]
        without = [control.curve("x", f"Phi {k}") for k in others]
        seen.metrics |= {
            "right Phi at x, dip": min(table.curve("x", "Phi 0")) / table.curve("x", "Phi 0")[0],
            "wrong Phi at x, dip": max(min(errors) / errors[0] for errors in absent),
            "wrong Phi at x, dip untrained": max(min(errors) / errors[0] for errors in without),
            "right answer at x, top": right[-1],
            "wrong answer at x, least": min(wrong),
            "wrong answer at x, top": wrong[-1],
            "wrong answer at x, rise": wrong[-1] - min(wrong),
        }
        seen.notes["probe errors"] = {f"{row['target']} at {row['token']}, {row['layer']}": row["error"] for row in table.rows()}
        return seen

    def _targets(self) -> dict[str, Target]:
        def answer(prompts: Prompts, k: int) -> Tensor:
            return OnRepresentation(Bayes(self.mixture.noise**2), self.phis[k])(prompts.x, prompts.y)[..., None]

        def represented(prompts: Prompts, k: int) -> Tensor:
            return cast(Tensor, self.phis[k](prompts.x))

        targets = {f"Phi {k}": Target(partial(represented, k=k)) for k in range(len(self.phis))}
        for k in range(len(self.phis)):
            targets[f"wrong answer {k}" if k else "right answer"] = Target(partial(answer, k=k), first=1)
        return targets


TASKS = {MixtureLearning.name: MixtureLearning}
