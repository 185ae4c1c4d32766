"""Rotary tables, turned queries and scores of every rule, against the official code. Official tables have two identical halves; ours have one."""

import torch

from ordinate.nn.rotary import Rotary, Turns
from ordinate.nn.rotary_scaling import DynamicNtkRotary, ScaledRotary, XPos, cumulated
from tests.parity.case import Case


def _rule(case: Case, name: str, head_dim: int) -> Rotary:
    constructor = case.meta["constructor"]
    if name == "xpos":
        return XPos(head_dim, scale_base=constructor["xpos_scale_base"])
    arguments = constructor["variants"][name]
    assert set(arguments) <= {"scale", "scale_power", "truncate"}, f"arguments that the adapter does not know: {arguments}"
    return ScaledRotary(
        head_dim,
        factor=arguments.get("scale", 1.0),
        power=arguments.get("scale_power", 0.0),
        truncate_at=arguments.get("truncate"),
        base=constructor["base"],
    )


def check(case: Case) -> None:
    tolerance, constructor = case.tolerance("float32"), case.meta["constructor"]
    q, k = case.input("q"), case.input("k")
    length, head_dim = q.shape[2:]
    for name in sorted({name.rpartition("/")[0] for name in case.outputs()}):
        family, _, shape = name.partition("/")
        if family in ("dynamic_ntk", "linear_hf"):
            factor, asked = constructor["dynamic_ntk (factor, seq_len)"][shape]
            dynamic = DynamicNtkRotary(head_dim, train_length=constructor["max_position_embeddings"], factor=factor)
            rule = dynamic if family == "dynamic_ntk" else ScaledRotary(head_dim, factor=factor)
            table = case.output(f"{name}/cos")
            if family == "dynamic_ntk":
                case.close(rule.frequencies(asked), f"{name}/inv_freq", atol=tolerance)
            case.close(_doubled(rule.turns(torch.arange(len(table)), asked).cos)[0], f"{name}/cos", atol=tolerance)
            continue
        if family == "randomised":
            # recorded on top of linear scaling, which the case does not state: its slow pairs turn at a quarter of their plain rate
            turns = _rule(case, "linear4", head_dim).turns(cumulated(case.input("rand_u")), length)
            case.close(_doubled(turns.cos)[:, None], "randomised/cos", atol=tolerance)
            case.close(_doubled(turns.sin)[:, None], "randomised/sin", atol=tolerance)
            continue
        rule = _rule(case, name, head_dim)
        turns = rule.turns(torch.arange(length), length)
        for output, value in _outputs(rule, turns, q, k).items():
            if f"{name}/{output}" in case.outputs():
                case.close(value, f"{name}/{output}", **({"rel": tolerance} if output == "scores" else {"atol": tolerance}))


def _doubled(table: torch.Tensor) -> torch.Tensor:
    return torch.cat([table, table], dim=-1)


def _outputs(rule: Rotary, turns: Turns, q: torch.Tensor, k: torch.Tensor) -> dict[str, torch.Tensor]:
    queries, keys = rule(q, turns), rule(k, turns, keys=True)
    return {
        "freq": rule.frequencies(q.shape[2]),
        "cos": _doubled(turns.cos)[None],
        "sin": _doubled(turns.sin)[None],
        "q_rot": queries,
        "q": queries,
        "k": keys,
        "scores": queries @ keys.mT,
    }
