from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.trees import LABELS, LINEARISATIONS, TERMINALS, Tree, bfs_linearize, bfs_parse, dfs_linearize, dfs_parse, random_tree
from ordinate.ground.errors import InputError

EXAMPLE = Tree("S", (Tree("NP", (Tree("DT"), Tree("NN"))), Tree("VP", (Tree("VB"),))))


def test_the_example_by_hand() -> None:
    assert " ".join(dfs_linearize(EXAMPLE)) == "S NP DT !DT NN !NN !NP VP VB !VB !VP !S"
    assert " ".join(bfs_linearize(EXAMPLE)) == "S LEV NP VP LEV DT NN PAR VB DONE"
    empty_first = Tree("S", (Tree("A"), Tree("B", (Tree("C"),)), Tree("D")))
    assert (
        " ".join(bfs_linearize(empty_first)) == "S LEV A B D LEV PAR C DONE"
    )  # an empty group at the end is dropped, one at the beginning cannot be


labels = st.sampled_from(["A", "B", "C"])
trees = st.recursive(
    labels.map(Tree),
    lambda inner: st.builds(lambda label, children: Tree(label, tuple(children)), labels, st.lists(inner, max_size=3)),
    max_leaves=12,
)


@given(tree=trees)
@settings(max_examples=80)
def test_every_tree_is_read_back(tree: Tree) -> None:
    assert dfs_parse(dfs_linearize(tree)) == tree
    assert bfs_parse(bfs_linearize(tree)) == tree


@given(tokens=st.lists(st.sampled_from(["A", "!A", "B", "!B", "LEV", "PAR", "DONE"]), max_size=7))
@settings(max_examples=300)
def test_what_is_valid_is_what_some_tree_is_written_as(tokens: list[str]) -> None:
    for way in LINEARISATIONS.values():
        if way.valid(tokens):
            assert way.write(way.read(tokens)) == tokens


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("", "no tree in an empty sequence"),
        ("A", "1 nodes are left open"),
        ("A !B", "closes what is not open"),
        ("!A", "closes what is not open"),
        ("A !A B !B", "follows the root"),
        ("A !A !A", "closes what is not open"),
        ("A LEV !A", "is a mark"),
    ],
)
def test_what_is_no_tree_depth_first_is_one_line(tokens: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dfs_parse(tokens.split())


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("A", "ends with the only DONE"),
        ("A DONE DONE", "ends with the only DONE"),
        ("DONE DONE", "ends with the only DONE"),
        ("LEV DONE", "is a mark"),
        ("A B DONE", "before the first LEV"),
        ("A PAR DONE", "has no parent"),
        ("A LEV DONE", "group without children"),
        ("A LEV B PAR C DONE", "has no parent"),
        ("A LEV B C LEV D PAR DONE", "group without children"),
        ("A LEV !B DONE", "is a mark"),
    ],
)
def test_what_is_no_tree_breadth_first_is_one_line(tokens: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        bfs_parse(tokens.split())


@pytest.mark.parametrize("label", ["", "LEV", "PAR", "DONE", "!S"])
def test_marks_are_no_labels(label: str) -> None:
    for way in LINEARISATIONS.values():
        with pytest.raises(InputError, match="cannot be a label"):
            way.write(Tree("S", (Tree(label),)))


def test_sentences_of_the_grammar() -> None:
    draws = Random(0)
    drawn = [random_tree(draws, depth) for depth in (3, 4, 5) for _ in range(100)]
    assert max(tree.depth() for tree in drawn) == 5
    assert all(set(tree.leaves()) <= set(TERMINALS) for tree in drawn)
    assert len({tuple(tree.leaves()) for tree in drawn}) > 100 and len(set(LABELS)) == len(LABELS)
    assert random_tree(Random(3)) == random_tree(Random(3))
    with pytest.raises(InputError, match="3 nodes from root to leaf"):
        random_tree(draws, 2)
