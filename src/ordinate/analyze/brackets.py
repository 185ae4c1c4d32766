r"""Labelled brackets: how much of a parse is right.

A bracket is an inner node's label with the first and the last leaf that it spans. Precision is the share of the brackets found that are in the true tree, recall the share of the true ones that were found, and
:math:`F_1` their harmonic mean, all counted over the whole collection, each bracket as often as it occurs. An answer that is no tree finds nothing.

Source: Black et al., A procedure for quantitatively comparing the syntactic coverage of English grammars (1991).
"""

from collections import Counter
from collections.abc import Sequence

from ordinate.data.trees import Tree
from ordinate.ground.errors import InputError

__all__ = ["bracket_f1", "brackets"]

Bracket = tuple[str, int, int]


def brackets(tree: Tree, start: int = 0) -> Counter[Bracket]:
    """The labelled spans (label, first leaf, leaf after the last) of a tree whose first leaf is number `start`."""
    found: Counter[Bracket] = Counter()
    place = start
    for child in tree.children:
        found += brackets(child, place)
        place += len(child.leaves())
    if tree.children:
        found[tree.label, start, place] += 1
    return found


def bracket_f1(found: Sequence[Tree | None], true: Sequence[Tree]) -> float:
    """F1 in % over a collection.

    Args:
        found: a tree for each sentence, or None where the answer is no tree.
        true: the true trees.

    Raises:
        InputError: there are not as many answers as sentences, or no brackets at all.
    """
    if len(found) != len(true):
        raise InputError(f"there are {len(found)} answers for {len(true)} trees")
    ours = [brackets(tree) if tree is not None else Counter() for tree in found]
    theirs = [brackets(tree) for tree in true]
    right = sum((one & other).total() for one, other in zip(ours, theirs, strict=True))
    total = sum(each.total() for each in (*ours, *theirs))
    if not total:
        raise InputError("there are no brackets to compare: the trees are single nodes")
    return 200 * right / total
