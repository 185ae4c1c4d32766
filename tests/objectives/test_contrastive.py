import copy
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.objectives.contrastive import Contrastive, InfoNCE, gather_rows


def _by_hand(queries: Tensor, keys: Tensor, temperature: float, extra: Tensor | None = None) -> Tensor:
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    losses = []
    for number, query in enumerate(queries):
        scores = [torch.exp(query @ key / temperature) for key in keys]
        scores += [torch.exp(query @ key / temperature) for key in (F.normalize(extra, dim=1) if extra is not None else [])]
        losses.append(-torch.log(scores[number] / sum(scores)))
    return torch.stack(losses).mean()


def test_the_loss_is_the_formula() -> None:
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    torch.testing.assert_close(InfoNCE(0.2, symmetric=False)(a, b), _by_hand(a, b, 0.2))
    torch.testing.assert_close(InfoNCE(0.2)(a, b), (_by_hand(a, b, 0.2) + _by_hand(b, a, 0.2)) / 2)
    more = torch.randn(3, 4)
    torch.testing.assert_close(InfoNCE(0.2, symmetric=False)(a, b, more), _by_hand(a, b, 0.2, more))


def test_equal_embeddings_cost_the_logarithm_of_the_batch() -> None:
    same = torch.ones(7, 3)
    assert InfoNCE()(same, same) == pytest.approx(torch.tensor(7.0).log().item(), rel=1e-6)


def test_the_scale_of_an_embedding_does_not_matter_unless_it_is_asked_to() -> None:
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    torch.testing.assert_close(InfoNCE()(3 * a, b), InfoNCE()(a, b))
    assert not torch.isclose(InfoNCE(normalize=False)(3 * a, b), InfoNCE(normalize=False)(a, b))


def test_a_learnt_temperature_gets_a_gradient_and_stays_below_its_bound() -> None:
    loss = InfoNCE(0.5, learn_temperature=True)
    loss(torch.randn(4, 3), torch.randn(4, 3)).backward()
    assert loss.log_sharpness.grad != 0
    with torch.no_grad():
        loss.log_sharpness.fill_(50.0)
    assert torch.isfinite(loss(torch.randn(4, 3), torch.randn(4, 3)))


def test_bad_input_is_one_clear_line() -> None:
    loss = InfoNCE()
    with pytest.raises(InputError, match="temperature must be positive"):
        InfoNCE(0.0)
    with pytest.raises(InputError, match="at least two pairs"):
        loss(torch.randn(1, 3), torch.randn(1, 3))
    assert torch.isfinite(InfoNCE(symmetric=False)(torch.randn(1, 3), torch.randn(1, 3), torch.randn(2, 3)))
    model = MLP(image_size=4, num_features=8)
    with pytest.raises(InputError, match="two views"):
        Contrastive()(model, {"image": torch.randn(2, 1, 4, 4)})
    with pytest.raises(InputError, match="own width 8, not 16"):
        Contrastive.for_model(model, matryoshka=[2, 16])
    with pytest.raises(InputError, match="vision encoder"):
        Contrastive.for_model(nn.Linear(2, 2))


def test_the_nested_loss_is_the_sum_over_prefixes_of_both_sides() -> None:
    model = MLP(image_size=4, num_features=8)
    batch = {"query": torch.randn(5, 1, 4, 4), "key": torch.randn(5, 1, 4, 4)}
    a, b = model.embed(batch["query"]), model.embed(batch["key"])
    found = Contrastive.for_model(model, matryoshka=[2, 4, 8], temperature=0.3)(model, batch)
    expected = sum(InfoNCE(0.3)(a[:, :size], b[:, :size]) for size in (2, 4, 8))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Contrastive.for_model(model, temperature=0.3)(model, batch), InfoNCE(0.3)(a, b), atol=1e-6, rtol=1e-6)


def _worker(rank: int, world: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    model, a, b, more = torch.load(f"{folder}/given.pt", weights_only=False)
    rows = slice(rank * len(a) // world, (rank + 1) * len(a) // world)
    some = slice(rank * len(more) // world, (rank + 1) * len(more) // world)
    loss = InfoNCE(0.2)(model(a[rows]), model(b[rows]), model(more[some]))
    loss.backward()
    for parameter in model.parameters():  # what a distributed wrapper does
        dist.all_reduce(parameter.grad)
        parameter.grad /= world
    dist.all_reduce(loss.detach_())
    if rank == 0:
        torch.save((loss / world, [parameter.grad for parameter in model.parameters()]), f"{folder}/found.pt")
    dist.destroy_process_group()


def test_two_processes_compute_what_one_would_with_the_whole_batch(tmp_path: Path) -> None:
    model, a, b, more = nn.Linear(3, 4), torch.randn(6, 3), torch.randn(6, 3), torch.randn(4, 3)
    torch.save((copy.deepcopy(model), a, b, more), tmp_path / "given.pt")
    mp.spawn(_worker, (2, str(tmp_path)), nprocs=2)
    loss, gradients = torch.load(tmp_path / "found.pt", weights_only=True)
    expected = InfoNCE(0.2)(model(a), model(b), model(more))
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), atol=1e-6, rtol=1e-6)
    for found, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, atol=1e-6, rtol=1e-5)


def test_one_process_gathers_nothing() -> None:
    x = torch.randn(2, 3)
    assert gather_rows(x) is x
