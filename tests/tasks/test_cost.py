import torch
from torch import nn

from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.tasks.cost import Cost, Counted


def test_networks_of_any_size_are_counted_without_memory() -> None:
    def make() -> Counted:
        assert torch.empty(1).is_meta
        return Counted(nn.Linear(100_000, 100_000), (torch.empty(4, 100_000),), per=4)

    table = Comparison("sizes", Cost(), [Arm("linear", make)], seeds=1).run(Setting())
    assert table.value("linear", "multiply_adds") == 1e10
    assert table.value("linear", "parameters") == table.rows[0].parameters == 1e10 + 1e5


def test_they_are_counted_in_evaluation() -> None:
    seen = []

    class Watching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            return super().forward(x)

    Comparison("sizes", Cost(), [Arm("linear", lambda: Counted(Watching(2, 2), (torch.empty(1, 2),)))], seeds=1).run(Setting())
    assert seen == [False]
