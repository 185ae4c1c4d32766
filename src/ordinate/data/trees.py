r"""Labelled ordered trees as sequences, depth first or breadth first, and back; and random trees of a small grammar of English.

Depth first, a node is its label, its children, and the label again with a mark that closes it; a leaf has no children between. Breadth first, the root comes first, and then the levels one by one: ``LEV`` and the children of
every node of the level above, from left to right, with ``PAR`` between the children of one parent and those of the next; groups without children at a level's end are dropped, and ``DONE`` ends the tree. The tree S(NP(DT NN) VP(VB)) is

    depth first      S NP DT !DT NN !NN !NP VP VB !VB !VP !S
    breadth first    S LEV NP VP LEV DT NN PAR VB DONE

Both can be read back without loss, so that either may be what a parser emits. A parser that emits the second must count: which group belongs to which parent is nowhere near it.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.2. The grammar is our own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from ordinate.ground.errors import InputError

__all__ = [
    "CLOSE",
    "DONE",
    "LABELS",
    "LEVEL",
    "LINEARISATIONS",
    "PARENT",
    "TERMINALS",
    "Linearisation",
    "Tree",
    "bfs_linearize",
    "bfs_parse",
    "dfs_linearize",
    "dfs_parse",
    "random_tree",
]

CLOSE, LEVEL, PARENT, DONE = "!", "LEV", "PAR", "DONE"


class Tree(NamedTuple):
    """A node with its subtrees.

    Attributes:
        label: not empty, none of the marks, and not beginning with ``!``.
        children: from left to right.
    """

    label: str
    children: tuple["Tree", ...] = ()

    def leaves(self) -> list[str]:
        """The labels of the leaves, from left to right."""
        return [label for child in self.children for label in child.leaves()] if self.children else [self.label]

    def depth(self) -> int:
        """Nodes on the longest way from the root to a leaf."""
        return 1 + max((child.depth() for child in self.children), default=0)


def _check_label(label: str) -> str:
    if not label or label.startswith(CLOSE) or label in (LEVEL, PARENT, DONE):
        raise InputError(f"{label!r} cannot be a label: it is a mark of the sequence")
    return label


def dfs_linearize(tree: Tree) -> list[str]:
    """A tree depth first: labels, and labels that close.

    Raises:
        InputError: a label that is a mark.
    """
    return [_check_label(tree.label), *(token for child in tree.children for token in dfs_linearize(child)), CLOSE + tree.label]


def dfs_parse(tokens: Sequence[str]) -> Tree:
    """The tree of a depth-first sequence.

    Raises:
        InputError: it is none: something is closed that is not open, left open, or follows the root.
    """
    open_nodes: list[tuple[str, list[Tree]]] = []
    for place, token in enumerate(tokens):
        if not token.startswith(CLOSE):
            if not open_nodes and place:
                raise InputError(f"token {place + 1}, {token!r}, follows the root")
            open_nodes.append((_check_label(token), []))
            continue
        if not open_nodes or open_nodes[-1][0] != token.removeprefix(CLOSE):
            raise InputError(f"token {place + 1}, {token!r}, closes what is not open")
        label, children = open_nodes.pop()
        node = Tree(label, tuple(children))
        if open_nodes:
            open_nodes[-1][1].append(node)
        elif place + 1 == len(tokens):
            return node
    raise InputError(f"{len(open_nodes)} nodes are left open" if open_nodes else "there is no tree in an empty sequence, or more than one")


def bfs_linearize(tree: Tree) -> list[str]:
    """A tree level by level.

    Raises:
        InputError: a label that is a mark.
    """
    tokens, level = [_check_label(tree.label)], [tree]
    while any(node.children for node in level):
        groups = [[_check_label(child.label) for child in node.children] for node in level]
        while not groups[-1]:
            groups.pop()
        tokens.append(LEVEL)
        for number, group in enumerate(groups):
            tokens += [PARENT] * (number > 0) + group
        level = [child for node in level for child in node.children]
    return [*tokens, DONE]


class _Node:
    def __init__(self, label: str) -> None:
        self.label = label
        self.children: list[_Node] = []

    def tree(self) -> Tree:
        return Tree(self.label, tuple(child.tree() for child in self.children))


def bfs_parse(tokens: Sequence[str]) -> Tree:
    """The tree of a breadth-first sequence.

    Raises:
        InputError: it is none: no root or no end, a level that is empty or ends in an empty group, or more groups than parents.
    """
    if len(tokens) < 2 or tokens[-1] != DONE or DONE in tokens[:-1]:
        raise InputError(f"a breadth-first sequence begins with a root and ends with the only {DONE}")
    root = _Node(_check_label(tokens[0]))
    parents: list[_Node] = []
    level, group = [root], -1
    for place, token in enumerate(tokens[1:], start=2):
        ends = token in (LEVEL, DONE)
        if ends or token == PARENT:
            if ends and group >= 0 and not parents[group].children:
                raise InputError(f"token {place}, {token!r}, ends a level on a group without children")
            if ends:
                parents, level, group = level, [], 0
            elif group < 0 or group + 1 >= len(parents):
                raise InputError(f"token {place}, {token!r}, begins a group that has no parent")
            else:
                group += 1
        elif group < 0:
            raise InputError(f"token {place}, {token!r}, stands before the first {LEVEL}")
        else:
            node = _Node(_check_label(token))
            parents[group].children.append(node)
            level.append(node)
    return root.tree()


@dataclass(frozen=True)
class Linearisation:
    """A way to write trees as sequences.

    Attributes:
        write: a tree to tokens.
        read: tokens to a tree; raises `InputError` where they are none.
        marks: the tokens beside the labels, for a set of labels.
    """

    write: Callable[[Tree], list[str]]
    read: Callable[[Sequence[str]], Tree]
    marks: Callable[[Sequence[str]], list[str]]

    def valid(self, tokens: Sequence[str]) -> bool:
        """Whether the tokens are a tree."""
        try:
            self.read(tokens)
        except InputError:
            return False
        return True


LINEARISATIONS = {
    "depth-first": Linearisation(dfs_linearize, dfs_parse, lambda labels: [CLOSE + label for label in labels]),
    "breadth-first": Linearisation(bfs_linearize, bfs_parse, lambda labels: [LEVEL, PARENT, DONE]),
}

_Rules = dict[str, tuple[tuple[float, tuple[str, ...]], ...]]
_RULES: _Rules = {
    "S": ((0.7, ("NP", "VP")), (0.2, ("ADVP", "NP", "VP")), (0.1, ("PP", "NP", "VP"))),
    "NP": (
        (0.35, ("DT", "NN")),
        (0.2, ("PRP",)),
        (0.15, ("DT", "JJ", "NN")),
        (0.15, ("NP", "PP")),
        (0.1, ("NNS",)),
        (0.05, ("NP", "SBAR")),
    ),
    "VP": (
        (0.3, ("VBD", "NP")),
        (0.2, ("VBD",)),
        (0.15, ("VBD", "NP", "PP")),
        (0.15, ("MD", "VP")),
        (0.1, ("VBD", "SBAR")),
        (0.1, ("VBD", "ADJP")),
    ),
    "PP": ((1.0, ("IN", "NP")),),
    "SBAR": ((0.6, ("WDT", "VP")), (0.4, ("IN", "S"))),
    "ADJP": ((0.6, ("JJ",)), (0.4, ("RB", "JJ"))),
    "ADVP": ((1.0, ("RB",)),),
}
TERMINALS = tuple(sorted({label for options in _RULES.values() for _, right in options for label in right} - _RULES.keys()))
"""The grammar's parts of speech, which are the leaves of its trees."""
LABELS = (*_RULES, *TERMINALS)
"""All labels of the grammar's trees."""
_NEEDED = {"S": 3, "NP": 2, "VP": 2, "PP": 3, "SBAR": 3, "ADJP": 2, "ADVP": 2}  # nodes from each down to its shallowest leaves


def random_tree(draws: Random, depth: int = 5) -> Tree:
    """A sentence of the grammar.

    Args:
        draws: where it is drawn from.
        depth: the most nodes from the root to a leaf, 3 or more; rules that would lead further are not drawn.

    Raises:
        InputError: a depth at which there is no sentence.
    """
    if depth < _NEEDED["S"]:
        raise InputError(f"the shallowest sentence has {_NEEDED['S']} nodes from root to leaf, not {depth}")
    return _grown("S", depth, draws)


def _grown(label: str, depth: int, draws: Random) -> Tree:
    if label not in _RULES:
        return Tree(label)
    fitting = [(weight, right) for weight, right in _RULES[label] if all(_NEEDED.get(child, 1) < depth for child in right)]
    right = draws.choices([right for _, right in fitting], weights=[weight for weight, _ in fitting])[0]
    return Tree(label, tuple(_grown(child, depth - 1, draws) for child in right))
