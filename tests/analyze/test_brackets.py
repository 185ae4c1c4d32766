import pytest

from ordinate.analyze.brackets import bracket_f1, brackets
from ordinate.data.trees import Tree
from ordinate.ground.errors import InputError

NP = Tree("NP", (Tree("DT"), Tree("NN")))
TREE = Tree("S", (NP, Tree("VP", (Tree("VB"), NP))))
FLAT = Tree("S", (NP, Tree("VP", (Tree("VB"),)), NP))


def test_brackets_by_hand() -> None:
    assert brackets(TREE) == {("S", 0, 5): 1, ("NP", 0, 2): 1, ("VP", 2, 5): 1, ("NP", 3, 5): 1}
    unary = Tree("X", (Tree("X", (Tree("A"),)),))
    assert brackets(unary) == {("X", 0, 1): 2}


def test_f1_by_hand() -> None:
    assert bracket_f1([TREE], [TREE]) == 100
    assert bracket_f1([FLAT], [TREE]) == pytest.approx(100 * 3 / 4)  # VP spans too little
    assert bracket_f1([None, TREE], [TREE, TREE]) == pytest.approx(100 * 2 * 4 / (4 + 8))
    assert bracket_f1([None], [TREE]) == 0


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="1 answers for 2 trees"):
        bracket_f1([TREE], [TREE, TREE])
    with pytest.raises(InputError, match="no brackets"):
        bracket_f1([Tree("A")], [Tree("A")])
