"""Recorded outputs of the Process block as graph libraries have it (the authors released no code): summaries and gradients of ragged sets, and of the same sets padded."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ordinate.nn.set_process import SetProcess
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    if set(constructor) != {"in_channels", "processing_steps"}:
        raise AssertionError(f"{case.slug}/{case.name} is of a kind that this adapter does not know: {sorted(constructor)}")
    tolerance = float(case.meta["tolerance"])
    block = SetProcess(constructor["in_channels"], constructor["processing_steps"]).double()
    block.load_state_dict(case.state())
    index = case.input("index")
    x = case.input("x").clone().requires_grad_()
    summary = block.from_index(x, index, len(case.output("q_star"))).summary
    case.close(summary, "q_star", atol=tolerance)
    (summary * case.input("grad_out")).sum().backward()
    case.close(x.grad, "grad_x", atol=tolerance)
    for name, parameter in block.named_parameters():
        case.close(parameter.grad, f"grad/{name}", atol=tolerance)
    moved = case.inputs().get("within_set_perm")
    if moved is not None:
        case.close(block.from_index(x[moved], index[moved], len(summary)).summary, "q_star", atol=tolerance)
    memory, mask = _padded(x, index, len(summary))
    case.close(block(memory, mask).summary, "q_star", atol=tolerance)


def _padded(x: Tensor, index: Tensor, sets: int) -> tuple[Tensor, Tensor]:
    rows = [x[index == number] for number in range(sets)]
    mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
    return pad_sequence(rows, batch_first=True), mask
