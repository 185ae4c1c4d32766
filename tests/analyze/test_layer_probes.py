import pytest
import torch
from torch import Tensor, nn

from ordinate.analyze.layer_probes import ProbeTable, Target, probe_layers
from ordinate.ground.errors import InputError

TOKENS = {"x": slice(0, None, 2), "y": slice(1, None, 2)}
Batch = dict[str, Tensor]


class Stream(nn.Module):
    """States that are the input, and then a random nonlinear function of it."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()
        self.other = nn.Sequential(nn.Linear(5, 5), nn.Tanh())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.other(self.same(tokens))


def batches(seed: int, count: int = 3, rows: int = 60) -> list[Batch]:
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        tokens = torch.randn(rows, 7, 5, generator=draw) + 3.0
        found.append({"tokens": tokens, "noise": torch.randn(rows, 4, 2, generator=draw)})
    return found


def probe(targets: dict[str, Target], model: nn.Module | None = None, **more: object) -> ProbeTable:
    torch.manual_seed(0)
    return probe_layers(
        model or Stream(),
        ["same", "other"],
        targets,
        batches(0),
        batches(1),
        tokens=TOKENS,
        forward=lambda m, b: m(b["tokens"]),
        **more,  # type: ignore[arg-type]
    )


def at_x(batch: Batch) -> Tensor:
    return batch["tokens"][:, ::2, :3] * 2 - 1


def test_what_is_linear_in_a_state_is_read_and_what_is_random_is_not() -> None:
    table = probe({"linear": Target(at_x), "noise": Target(lambda batch: batch["noise"])}, alpha=1e-10)
    assert table.error[0, 0, 0] < 1e-6 and table.by_position[0, 0, 0].max() < 1e-6
    assert table.error[0, 1, 0] > 0.9 and 0.01 < table.error[1, 0, 0] < 0.9
    assert ((table.error[:, :, 1] > 0.9) & (table.error[:, :, 1] < 1.2)).all()
    assert table.curve("x", "linear") == table.error[:, 0, 0].tolist() and table.best("x", "linear") == 0
    assert len(table.rows()) == 8 and table.rows()[0] == {"layer": "same", "token": "x", "target": "linear", "error": table.error[0, 0, 0]}


def test_probes_are_those_of_ridge_regression_fitted_one_by_one() -> None:
    targets = {"first": Target(lambda batch: batch["tokens"][:, ::2, :1] * batch["noise"][:, :, :1]), "noise": Target(lambda b: b["noise"])}
    model = Stream()
    table = probe(targets, model, alpha=0.03)
    with torch.no_grad():
        train, test = ([model(batch["tokens"])[:, 1::2].double() for batch in batches(seed)] for seed in (0, 1))
    for position in (None, 2):
        for k, target in enumerate(targets.values()):
            span = slice(None) if position is None else slice(position, position + 1)
            h, v, fresh, truth = (
                torch.cat([part[:, span].flatten(0, 1) for part in parts])
                for parts in (
                    train,
                    [target.of(batch)[:, :3].double() for batch in batches(0)],
                    test,
                    [target.of(batch)[:, :3].double() for batch in batches(1)],
                )
            )
            mean, scale = h.mean(dim=0), h.std(dim=0, unbiased=False)
            z = (h - mean) / scale
            weight = torch.linalg.solve(z.mT @ z / len(z) + 0.03 * torch.eye(5, dtype=torch.float64), z.mT @ (v - v.mean(dim=0)) / len(z))
            said = (fresh - mean) / scale @ weight + v.mean(dim=0)
            error = (said - truth).square().sum() / (truth - truth.mean(dim=0)).square().sum()
            found = table.error[1, 1, k] if position is None else table.by_position[1, 1, k, position]
            torch.testing.assert_close(found, error, rtol=1e-8, atol=0)


def test_a_lag_has_no_error_before_its_first_example() -> None:
    def lag(batch: Batch) -> Tensor:
        x = at_x(batch)
        return torch.cat([torch.full_like(x[:, :1], torch.nan), x[:, :-1]], dim=1)

    table = probe({"lag": Target(lag, first=1), "now": Target(at_x)})
    assert table.by_position[0, 0, 0, 0].isnan() and table.by_position[0, 0, 0, 1:].isfinite().all()
    assert table.by_position[0, 1, 0, 3].isnan()  # there is no fourth y token
    assert table.error[0, 0, 0] > 0.9 and table.error[0, 0, 1] < 1e-4
    with pytest.raises(InputError, match="must be finite"):
        probe({"lag": Target(lag)})


def test_a_state_that_never_changes_says_nothing() -> None:
    model = Stream()
    nn.init.zeros_(model.other[0].weight)
    table = probe({"linear": Target(at_x)}, model)
    assert 0.99 < table.error[1, 0, 0] < 1.1


def test_what_cannot_be_probed_is_refused() -> None:
    with pytest.raises(InputError, match="the same everywhere"):
        probe({"constant": Target(lambda batch: torch.ones(60, 4, 1))})
    with pytest.raises(InputError, match="alpha must be positive"):
        probe({"linear": Target(at_x)}, alpha=0.0)
    with pytest.raises(InputError, match="at least one layer"):
        probe({})
    with pytest.raises(InputError, match="begins at example 3, and there are 3 y tokens"):
        probe({"late": Target(at_x, first=3)})
    with pytest.raises(InputError, match=r"not \(60, 4\)"):
        probe({"flat": Target(lambda batch: batch["noise"][..., 0])})
    model, forward = Stream(), lambda m, b: m(b["tokens"])
    with pytest.raises(InputError, match="6 weights, and a position 4 rows"):
        probe_layers(model, ["same"], {"v": Target(at_x)}, batches(0, 1, 4), batches(1), tokens=TOKENS, forward=forward)
    with pytest.raises(InputError, match="no batch"):
        probe_layers(model, ["same"], {"v": Target(at_x)}, [], batches(1), tokens=TOKENS, forward=forward)
    with pytest.raises(InputError, match="no module 'nothing'"):
        probe_layers(model, ["nothing"], {"v": Target(at_x)}, batches(0), batches(1), tokens=TOKENS, forward=forward)
    with pytest.raises(InputError, match=r"\(batch, tokens, width\)"):
        probe_layers(
            nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 5)),
            ["0", "1"],
            {"v": Target(at_x)},
            batches(0),
            batches(1),
            tokens=TOKENS,
            forward=forward,
        )
    with pytest.raises(InputError, match="between 1 and 4 positions"):
        probe_layers(model, ["same"], {"v": Target(at_x)}, batches(0), batches(1), tokens={"all": slice(None)}, forward=forward)
