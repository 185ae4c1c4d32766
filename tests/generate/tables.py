"""A decoder without a network: the next symbol's probabilities are a table's row, chosen by what was emitted last. Symbol 0 is END."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class TableState(NamedTuple):
    tables: Tensor
    last: Tensor


class Tables:
    """`inputs["tables"]`: (B, V, V) log-probabilities; row r of a table is what follows symbol r, and row 0 is also where it begins."""

    def init(self, inputs: Mapping[str, Tensor]) -> TableState:
        return TableState(inputs["tables"], torch.zeros(len(inputs["tables"]), dtype=torch.int64))

    def log_prob(self, state: TableState) -> Tensor:
        return state.tables[torch.arange(len(state.last)), state.last]

    def advance(self, state: TableState, symbols: Tensor) -> TableState:
        return state._replace(last=symbols)

    def reorder(self, state: TableState, rows: Tensor) -> TableState:
        return TableState(state.tables[rows], state.last[rows])


def random_tables(batch: int, vocabulary: int) -> dict[str, Tensor]:
    return {"tables": (2 * torch.randn(batch, vocabulary, vocabulary)).log_softmax(dim=-1)}
