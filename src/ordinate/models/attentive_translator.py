r"""Sequence to sequence with attention: tokens in, other tokens out.

A bidirectional LSTM reads the source; its states :math:`e_1, \dots, e_n` are the memories. Another LSTM writes: its state :math:`d_t` asks the memories, :math:`a_t = \operatorname{softmax}_i(d_t^\top W_a e_i)`, and the next token is
read off both, :math:`p = \operatorname{softmax}(W_o \tanh(W_c [d_t, \sum_i a_{ti} e_i]))`. The context is not fed back, so that for known answers the writer runs as one kernel.

Sources: Luong, Pham, Manning, Effective Approaches to Attention-based Neural Machine Translation (2015), for the attention; Vinyals et al., Grammar as a Foreign Language (2015), for parsing with it.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ordinate.ground.errors import InputError
from ordinate.models.base import Model

__all__ = ["MODELS", "AttentiveTranslator", "TranslatorState"]

END = 0


class TranslatorState(NamedTuple):
    """Where decoding stands, one row a sequence.

    Attributes:
        memory: (R, n, D), the source's states.
        mask: (R, n), which there are.
        h: (R, D), of the writer.
        c: (R, D), of the writer.
        log_prob: (R, V), of the token to come.
    """

    memory: Tensor
    mask: Tensor
    h: Tensor
    c: Tensor
    log_prob: Tensor


class AttentiveTranslator(Model):
    """Source tokens (B, n) to target tokens, the number 0 of which ends an answer."""

    def __init__(self, source: int, target: int, dim: int = 128) -> None:
        """
        Args:
            source: how many tokens the source has; -1 pads it.
            target: how many tokens the target has, END (0) included.
            dim: the width D, an even number.

        Raises:
            InputError: no tokens, or a width that is odd or below 2.
        """
        super().__init__()
        if min(source, target) < 1 or dim < 2 or dim % 2:
            raise InputError(f"there must be tokens on both sides and an even width of 2 or more, not {source}, {target} and {dim}")
        self.source_size, self.target_size = source, target
        self.source, self.target = nn.Embedding(source, dim), nn.Embedding(target, dim)
        for table in (self.source, self.target):
            nn.init.uniform_(table.weight, -(dim**-0.5), dim**-0.5)
        self.go = nn.Parameter(torch.empty(dim).uniform_(-(dim**-0.5), dim**-0.5))
        self.reader = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)
        self.writer = nn.LSTM(dim, dim, batch_first=True)
        self.ask = nn.Linear(dim, dim, bias=False)
        self.join = nn.Linear(2 * dim, dim)
        self.output = nn.Linear(dim, target)

    def forward(
        self, source: Int[Tensor, "batch n"], target: Int[Tensor, "batch steps"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch steps vocabulary"]]:
        """Log-probabilities of given answers.

        Args:
            source: (B, n), padded with -1 at the end.
            target: (B, T), each row ended by END (0); what follows it does not count.

        Returns:
            log_prob: (B,), of each answer, END included, in nats.
            log_probs: (B, T, V), of every token given those before it.

        Raises:
            InputError: an empty source, a token that there is not, or an answer without END.
        """
        if len(target) != len(source) or not target.numel() or not 0 <= int(target.min()) <= int(target.max()) < self.target_size:
            raise InputError(f"answers are (batch, steps) tokens from 0 to {self.target_size - 1}, one row a source")
        ended = (target == END).cummax(dim=1).values
        if not bool(ended[:, -1].all()):
            raise InputError("an answer has no END (0): without it, nothing says where it stops")
        memory, mask, h, c = self._read(source)
        fed = torch.cat((self.go.expand(len(target), 1, -1), self.target(target[:, :-1])), dim=1)
        states, _ = self.writer(fed, (h[None], c[None]))
        log_probs = self._write(states, memory, mask)
        running = torch.cat((torch.ones_like(ended[:, :1]), ~ended[:, :-1]), dim=1)
        chosen = log_probs.gather(2, target[..., None])[..., 0]
        return chosen.masked_fill(~running, 0.0).sum(dim=1), log_probs

    def init(self, inputs: Mapping[str, Tensor]) -> TranslatorState:
        """The state before the first token.

        Args:
            inputs: `source` (B, n), padded with -1 at the end.

        Raises:
            InputError: as in `forward`.
        """
        memory, mask, h, c = self._read(inputs["source"])
        return self._step(memory, mask, h, c, self.go.expand(len(h), -1))

    def log_prob(self, state: TranslatorState) -> Float[Tensor, "rows vocabulary"]:
        """The log-probabilities of the token to come."""
        return state.log_prob

    def advance(self, state: TranslatorState, symbols: Int[Tensor, " rows"]) -> TranslatorState:
        """The state after `symbols`."""
        return self._step(state.memory, state.mask, state.h, state.c, self.target(symbols))

    def reorder(self, state: TranslatorState, rows: Int[Tensor, " kept"]) -> TranslatorState:
        """The state of these rows, in this order; a row may be taken several times."""
        return TranslatorState(*(each[rows] for each in state))

    def _read(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask = source >= 0
        if source.ndim != 2 or not source.numel() or not bool(mask[:, 0].all() & (mask[:, 1:] <= mask[:, :-1]).all()):
            raise InputError("sources are (batch, n) tokens, padded with -1 at the end, and none is empty")
        if int(source.max()) >= self.source_size:
            raise InputError(f"source tokens are numbered from 0 to {self.source_size - 1}, and {int(source.max())} was given")
        packed = pack_padded_sequence(self.source(source.clamp(min=0)), mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        states, (h, c) = self.reader(packed)
        memory = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])[0]
        return memory, mask, torch.cat((h[0], h[1]), dim=1), torch.cat((c[0], c[1]), dim=1)

    def _write(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        scores = (self.ask(states) @ memory.transpose(1, 2)).masked_fill(~mask[:, None], float("-inf"))
        context = scores.softmax(dim=-1) @ memory
        return self.output(torch.tanh(self.join(torch.cat((states, context), dim=-1)))).log_softmax(dim=-1)

    def _step(self, memory: Tensor, mask: Tensor, h: Tensor, c: Tensor, fed: Tensor) -> TranslatorState:
        states, (h_next, c_next) = self.writer(fed[:, None], (h[None], c[None]))
        return TranslatorState(memory, mask, h_next[0], c_next[0], self._write(states, memory, mask)[:, 0])


MODELS = {"attentive-translator": partial(AttentiveTranslator)}
