import os
from pathlib import Path

import pytest
import torch

from ordinate.data.meshes import list_meshes, open_mesh
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("trimesh", reason="trimesh is an optional extra")
# a square of two triangles as one polygon, and a texture whose seam repeats a corner
SQUARE = "v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nv 9 9 9\nvt 0 0\nvt 1 0\nf 1/1 2/1 3/1\nf 1/2 3/1 4/1\n"


def test_polygons_become_triangles_and_seams_close(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(SQUARE)
    mesh = open_mesh(tmp_path / "square.obj")
    assert mesh.vertices.shape == (4, 3) and mesh.faces.shape == (2, 3)
    (tmp_path / "quad.obj").write_text("v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nf 1 2 3 4\n")
    assert open_mesh(tmp_path / "quad.obj").faces.shape == (2, 3)


def test_a_centred_mesh(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(SQUARE)
    mesh = open_mesh(tmp_path / "square.obj").centred(3.0)
    assert torch.allclose(mesh.vertices.amin(0), -mesh.vertices.amax(0))
    assert mesh.vertices.norm(dim=1).amax().item() == pytest.approx(3.0)


@needs("meshes")
def test_the_named_models() -> None:
    assert len(list_meshes()) == 11
    spot = open_mesh("spot")
    assert spot.vertices.shape == (2930, 3) and spot.faces.shape == (5856, 3)
    edges = torch.cat([spot.faces[:, [0, 1]], spot.faces[:, [1, 2]], spot.faces[:, [2, 0]]])
    assert len(spot.vertices) - len(edges.sort(1).values.unique(dim=0)) + len(spot.faces) == 2, "Euler's number of a sphere"
    assert open_mesh(Path(os.environ["ORDINATE_DATA"]) / "meshes" / "suzanne.obj").faces.shape == (968, 3)


def test_what_is_no_mesh(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_mesh(tmp_path / "absent.obj")
    with pytest.raises(MissingError, match="ordinate data get meshes"):
        open_mesh("spot", folder=tmp_path)
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "cow.obj").write_text(SQUARE)
    with pytest.raises(InputError, match="unknown model 'spot'"):
        open_mesh("spot", folder=tmp_path)
    for content in ("", "not a mesh", "v 0 0 0\n", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"):
        (tmp_path / "bad.obj").write_text(content)
        with pytest.raises(InputError, match=r"bad\.obj"):
            open_mesh(tmp_path / "bad.obj")
