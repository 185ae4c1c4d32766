r"""A representation shared by tasks as any encoder learns it: :math:`y = w_t^\top \phi(x) + c_t`, one linear head a task, trained together.

The encoder's features go through a linear layer to K of them; encoder, layer and heads are trained on all tasks' samples. Then every head is fitted anew on the features as they stand, all with the same penalty a sample, as a new
task's head is: heads of tasks with few samples and many, and of the target, are comparable. Features are given in a basis in which their second moment over all samples is the identity.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), section 5, for networks; the refit and the basis are ours.
"""

from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor, nn

from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.models.task_learner import TaskLearner, check_samples
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["LOSSES", "NeuralMTRL"]

LOSSES = ("squared", "logistic")
_ROWS_AT_ONCE = 1024
_NEWTON = 50


class _Shared(nn.Module):
    """The encoder, the layer to K features, and the heads."""

    def __init__(self, encoder: nn.Module, width: int, rank: int, tasks: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.neck = nn.Linear(width, rank)
        self.heads = nn.Parameter(torch.zeros(tasks, rank))
        self.levels = nn.Parameter(torch.zeros(tasks))
        nn.init.normal_(self.heads, std=rank**-0.5)

    def features(self, x: Tensor) -> Tensor:
        return self.neck(self.encoder(x))

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        return (self.features(x) * self.heads[task]).sum(dim=1) + self.levels[task]


class NeuralMTRL(TaskLearner):
    """Any encoder and one linear head a task. See the module."""

    def __init__(
        self,
        encoder: nn.Module,
        rank: int,
        loss: str = "squared",
        *,
        recipe: Recipe | None = None,
        batch_size: int = 128,
        penalty: float = 1e-3,
        device: str = "cpu",
    ) -> None:
        """
        Args:
            encoder: inputs (n, ...) to vectors (n, width); every `learn` starts from a copy of it as it is given.
            rank: K.
            loss: ``"squared"``, or ``"logistic"`` for targets in {-1, 1}.
            recipe: of the training; 300 steps of AdamW at a rate of 1e-3 by default.
            batch_size: samples a step.
            penalty: rho of the heads that are fitted in the end, rho |w|² beside the mean loss.
            device: where it is trained and where it encodes.

        Raises:
            InputError: an unknown loss, or a number out of range.
        """
        choose("loss", loss, LOSSES)
        if rank < 1 or batch_size < 1 or penalty <= 0:
            raise InputError(f"there must be features and samples a step, and a positive penalty, not {rank}, {batch_size} and {penalty}")
        self.encoder = encoder
        self.rank = rank
        self.loss = loss
        self.recipe = Recipe(steps=300, lr=1e-3) if recipe is None else recipe
        self.batch_size = batch_size
        self.penalty = penalty
        self.device = device

    def begin(self, tasks: int) -> None:
        if not 1 <= self.rank <= tasks:
            raise InputError(f"a representation that {tasks} tasks share has 1 to {tasks} features, not {self.rank}")
        self._samples: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(tasks)]
        self._heads: Tensor | None = None

    def add(self, task: int, X: Tensor, y: Tensor) -> None:
        self.check_task(task, len(self._samples), X, y)
        if self.loss == "logistic" and not bool((y.abs() == 1).all()):
            raise InputError("targets are -1 and 1 where the loss is logistic")
        self._samples[task].append((X, y))

    def learn(self, seed: int = 0) -> None:
        filled = [(task, X, y) for task, parts in enumerate(self._samples) for X, y in parts]
        if not filled:
            raise InputError("a representation is learnt from samples, and there are none")
        x, y = torch.cat([X for _, X, _ in filled]).float(), torch.cat([part for _, _, part in filled]).float()
        task = torch.cat([torch.full((len(part),), number) for number, _, part in filled])
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(seed, "init"))
            encoder = deepcopy(self.encoder).eval()
            with torch.no_grad():
                width = encoder(x[:1]).shape[1]
            self._model = _Shared(encoder, width, self.rank, len(self._samples))
        source = TensorSource(x=x, y=y, task=task)
        fit(self._model, self._objective, Shuffled(source, min(self.batch_size, len(x)), seed), self.recipe, seed=seed, device=self.device)
        self._model.eval()
        self._basis = torch.eye(self.rank, dtype=torch.float64)
        features = self.encode(x)
        values, vectors = torch.linalg.eigh(features.mT @ features / len(features))
        self._basis = vectors / values.clamp(min=1e-8 * float(values.max())).sqrt()
        features = features @ self._basis
        self._heads = torch.zeros(self.rank, len(self._samples), dtype=torch.float64)
        for number in task.unique().tolist():
            self._heads[:, number] = self._fitted(features[task == number], y[task == number])[0]

    def _objective(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        found = cast(_Shared, model)(batch["x"], batch["task"])
        return F.mse_loss(found, batch["y"]) if self.loss == "squared" else F.softplus(-batch["y"] * found).mean()

    @property
    def heads(self) -> Float64[Tensor, "features tasks"]:
        """(K, T); zero for a task without samples."""
        if self._heads is None:
            raise InputError("nothing was learnt yet")
        return self._heads

    @torch.no_grad()
    def encode(self, X: Tensor) -> Float64[Tensor, "samples features"]:
        """The features (n, K)."""
        parts = [self._model.features(part.float().to(self.device)).cpu().double() for part in X.split(_ROWS_AT_ONCE)]
        return torch.cat(parts) @ self._basis

    def fit_head(self, X: Tensor, y: Tensor) -> tuple[Float64[Tensor, " features"], float]:
        """The head of least loss and penalty."""
        check_samples(X, y)
        if not len(X):
            raise InputError("a head is fitted to samples, and there are none")
        return self._fitted(self.encode(X), y)

    def _fitted(self, features: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """Newton's steps, one for the squared loss; the intercept is not penalised."""
        x, y = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], dim=1), y.double()
        penalty = torch.full((x.shape[1],), self.penalty, dtype=torch.float64)
        penalty[-1] = 1e-9
        head = torch.zeros(x.shape[1], dtype=torch.float64)
        for _ in range(_NEWTON):
            value = x @ head
            if self.loss == "squared":
                slope, curve = value - y, torch.ones_like(value)
            else:
                chance = torch.sigmoid(-y * value)
                slope, curve = -y * chance, chance * (1 - chance)
            gradient = x.mT @ slope / len(x) + penalty * head
            hessian = (x.mT * curve) @ x / len(x) + torch.diag(penalty)
            step = torch.linalg.solve(hessian, gradient)
            head = head - step
            if float(step.abs().max()) < 1e-10:
                break
        return head[:-1], float(head[-1])
