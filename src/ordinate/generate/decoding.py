r"""Decoding step by step: one protocol, and the searches that run on it.

Whatever gives :math:`\log p(y_t \mid y_{<t}, x)` one symbol at a time is a `StepDecoder`: `init` reads the inputs, `log_prob` says what may come next, `advance` takes what came, and `reorder` picks rows of the
state, which is all that a beam needs. A pointer network, a language model with its cache, and a set model are of this kind.

`roll` follows one sequence a row, with any rule for the next symbol (`greedy` takes the likeliest; samplers are rules too). `beam_search` keeps the `width` likeliest prefixes of each row, all rows and beams in one
call of the decoder, and ranks by :math:`\sum_t \log p`, not divided by the length. A constraint (`ordinate.generate.constraints`) forbids symbols; the log-probabilities that are returned remain the decoder's own, not
renormalised over what was allowed, so that they are those of the same sequence under teacher forcing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.generate.constraints import Constraint
from ordinate.ground.errors import InputError

__all__ = ["Beams", "Decoded", "StepDecoder", "beam_search", "greedy", "roll"]

State = TypeVar("State")


@runtime_checkable
class StepDecoder(Protocol[State]):
    """Gives sequences one symbol at a time. A state has one row a sequence; states are not changed in place."""

    def init(self, inputs: Mapping[str, Tensor]) -> State:
        """The state before the first symbol, from tensors that have one row a sequence."""

    def log_prob(self, state: State) -> Float[Tensor, "rows symbols"]:
        """The log-probabilities of the next symbol; -inf for those that a row does not have."""

    def advance(self, state: State, symbols: Int[Tensor, " rows"]) -> State:
        """The state after one more symbol in each row."""

    def reorder(self, state: State, rows: Int[Tensor, " kept"]) -> State:
        """The state of these rows, in this order; a row may be taken several times."""


@dataclass(frozen=True)
class Decoded:
    """One sequence a row.

    Attributes:
        symbols: (B, T) int64; what follows END is END.
        log_prob: (B,), in nats, END included.
        ended: (B,), False where the sequence was cut at the most symbols allowed.
    """

    symbols: Int[Tensor, "batch steps"]
    log_prob: Float[Tensor, " batch"]
    ended: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class Beams:
    """Several sequences a row, the likeliest first.

    Attributes:
        symbols: (B, width, T) int64; what follows END is END.
        log_prob: (B, width), in nats, END included; -inf where there were fewer sequences than beams.
        ended: (B, width), False where the sequence was cut at the most symbols allowed.
    """

    symbols: Int[Tensor, "batch width steps"]
    log_prob: Float[Tensor, "batch width"]
    ended: Bool[Tensor, "batch width"]

    def best(self) -> Decoded:
        """The likeliest of each row."""
        return Decoded(self.symbols[:, 0], self.log_prob[:, 0], self.ended[:, 0])


def _check(most: int, width: int = 1) -> None:
    if most < 1 or width < 1:
        raise InputError(f"decoding needs at least one symbol and one beam, not most={most} and width={width}")


def _masked(log_prob: Tensor, prefix: Tensor, constraint: Constraint | None) -> Tensor:
    if constraint is None:
        return log_prob
    return log_prob.masked_fill(~constraint(prefix, log_prob > float("-inf")), float("-inf"))


def _stuck(rows: Tensor, step: int) -> InputError:
    return InputError(f"the constraint allows no symbol at step {step + 1} of row {int(rows.nonzero()[0])}")


@torch.no_grad()
def roll(
    decoder: StepDecoder[State],
    inputs: Mapping[str, Tensor],
    choose: Callable[[Float[Tensor, "batch symbols"]], Int[Tensor, " batch"]],
    *,
    most: int,
    end: int | None = 0,
    constraint: Constraint | None = None,
) -> Decoded:
    """Follow one sequence a row.

    Args:
        decoder: what gives the probabilities.
        inputs: what its `init` takes.
        choose: `choose(log_prob)` -> the next symbol of each row, from (B, V) log-probabilities that are -inf where a symbol is not allowed.
        most: the most symbols, END included.
        end: the symbol that ends a sequence, or None where nothing does.
        constraint: what may come next; see `ordinate.generate.constraints`.

    Raises:
        InputError: `most` below 1, or a constraint that leaves a row without a symbol.
    """
    _check(most)
    state = decoder.init(inputs)
    log_prob = decoder.log_prob(state)
    symbols = torch.zeros(len(log_prob), 0, dtype=torch.int64, device=log_prob.device)
    ended = torch.zeros(len(log_prob), dtype=torch.bool, device=log_prob.device)
    total = log_prob.new_zeros(len(log_prob))
    for step in range(most):
        masked = _masked(log_prob, symbols, constraint)
        stuck = ~ended & (masked == float("-inf")).all(dim=1)
        if bool(stuck.any()):
            raise _stuck(stuck, step)
        symbol = choose(masked) if end is None else choose(masked).masked_fill(ended, end)
        total = total + log_prob.gather(1, symbol[:, None])[:, 0].masked_fill(ended, 0.0)
        symbols = torch.cat((symbols, symbol[:, None]), dim=1)
        if end is not None:
            ended = ended | (symbol == end)
        if step + 1 == most or bool(ended.all()):
            break
        state = decoder.advance(state, symbol)
        log_prob = decoder.log_prob(state)
    return Decoded(symbols, total, ended)


def greedy(
    decoder: StepDecoder[State], inputs: Mapping[str, Tensor], *, most: int, end: int | None = 0, constraint: Constraint | None = None
) -> Decoded:
    """`roll` with the likeliest symbol at every step."""
    return roll(decoder, inputs, lambda log_prob: log_prob.argmax(dim=1), most=most, end=end, constraint=constraint)


@torch.no_grad()
def beam_search(
    decoder: StepDecoder[State],
    inputs: Mapping[str, Tensor],
    *,
    width: int,
    most: int,
    end: int | None = 0,
    constraint: Constraint | None = None,
) -> Beams:
    """Keep the `width` likeliest prefixes of each row until all have ended.

    Args:
        decoder: what gives the probabilities.
        inputs: what its `init` takes.
        width: beams a row; 1 is greedy.
        most: the most symbols, END included.
        end: the symbol that ends a sequence, or None where nothing does.
        constraint: what may come next; a beam that it leaves without a symbol is dropped.

    Raises:
        InputError: `most` or `width` below 1, or a constraint that leaves a row without a beam.
    """
    _check(most, width)
    state = decoder.init(inputs)
    log_prob = decoder.log_prob(state)
    batch, vocabulary = log_prob.shape
    device = log_prob.device
    first = torch.arange(batch, device=device)[:, None] * width
    # All beams of a row begin alike: only the first counts, until it has been continued in several ways.
    state = decoder.reorder(state, first.expand(-1, width).flatten() // width)
    log_prob = log_prob.repeat_interleave(width, dim=0)
    total = log_prob.new_full((batch, width), float("-inf"))
    total[:, 0] = 0.0
    symbols = torch.zeros(batch, width, 0, dtype=torch.int64, device=device)
    ended = torch.zeros(batch, width, dtype=torch.bool, device=device)
    for step in range(most):
        onward = _masked(log_prob, symbols.flatten(0, 1), constraint).view(batch, width, vocabulary)
        if end is not None:
            stay = onward.new_full((vocabulary,), float("-inf"))
            stay[end] = 0.0
            onward = torch.where(ended[..., None], stay, onward)
        total, best = (total[..., None] + onward).flatten(1).topk(width)
        beam, symbol = best // vocabulary, best % vocabulary
        stuck = total[:, 0] == float("-inf")
        if bool(stuck.any()):
            raise _stuck(stuck, step)
        symbols = torch.cat((symbols.gather(1, beam[..., None].expand(-1, -1, step)), symbol[..., None]), dim=2)
        ended = ended.gather(1, beam)
        if end is not None:
            ended = ended | (symbol == end)
        if step + 1 == most or bool((ended | (total == float("-inf"))).all()):
            break
        state = decoder.advance(decoder.reorder(state, (first + beam).flatten()), symbol.flatten())
        log_prob = decoder.log_prob(state)
    return Beams(symbols, total, ended)
