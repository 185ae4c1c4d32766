from pathlib import Path

import pytest
import torch

from ordinate.data.molecules import MOLECULES, molecule_graph, open_molecules
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

SIZES = {"bbbp": (2039, 1), "esol": (1128, 1), "freesolv": (642, 1), "lipo": (4200, 1), "sider": (1427, 27), "tox21": (7831, 12)}


def _csv(folder: Path, text: str) -> Path:
    path = folder / "molecules.csv"
    path.write_text(text)
    return path


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = _csv(tmp_path, "smiles,name,toxic,active\nCCO ,ethanol,1,\nC,methane,0,1\n")
    found = open_molecules(path)
    assert found.smiles == ["CCO", "C"] and found.target_names == ("toxic", "active") and found.kind == "classification"
    assert found.targets[:, 0].tolist() == [1, 0] and found.targets[:, 1].isnan().tolist() == [True, False]
    assert open_molecules(path, targets=("active",)).targets.shape == (2, 1)
    assert open_molecules(_csv(tmp_path, "s,y\nC,0.5\n"), smiles="s").kind == "regression"


@needs("moleculenet")
@pytest.mark.parametrize("name", MOLECULES)
def test_the_named_sets(name: str) -> None:
    found = open_molecules(name)
    assert found.targets.shape == SIZES[name] and len(found) == len(found.smiles)
    assert all(smiles == smiles.strip() for smiles in found.smiles)
    if found.kind == "classification":
        assert set(found.targets[~found.targets.isnan()].unique().tolist()) == {0.0, 1.0}
    else:
        assert torch.isfinite(found.targets).all()


def test_a_molecule_as_a_graph() -> None:
    pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")
    pytest.importorskip("rdkit", reason="rdkit is an optional extra")
    ethanol = molecule_graph("CCO")
    assert ethanol.x.shape == (3, 9) and ethanol.x[:, 0].tolist() == [6, 6, 8]
    assert sorted(map(tuple, ethanol.edge_index.T.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    with pytest.raises(InputError, match="no molecule that RDKit can read"):
        molecule_graph("C(C")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smiles,y\n", "no rows"),
        ("molecule,y\nC,1\n", "unknown column of molecules.csv 'smiles'"),
        ("smiles,y\nC,1\n,2\n", "line 3 has no SMILES"),
        ("smiles,name\nC,methane\n", "no column of numbers"),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_molecules(_csv(tmp_path, text))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean tox21"):
        open_molecules("tox12")
    with pytest.raises(MissingError, match="ordinate data get moleculenet"):
        open_molecules("esol", folder=tmp_path)
    path = _csv(tmp_path, "smiles,y\nC,1\nCC,much\n")
    with pytest.raises(InputError, match="line 3 has 'much' in 'y'"):
        open_molecules(path, targets=("y",))
    with pytest.raises(InputError, match="unknown column"):
        open_molecules(path, targets=("z",))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a CSV file"):
        open_molecules(path)
