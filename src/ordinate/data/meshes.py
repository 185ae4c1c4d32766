"""Surfaces as triangles: the named models, or any file that trimesh reads (OBJ, PLY, STL, OFF, ...)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ordinate.data.home import data_folder, dataset_folder
from ordinate.ground.errors import InputError, choose, require

__all__ = ["Mesh", "list_meshes", "open_mesh"]


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles.

    Attributes:
        name: as it was asked for.
        vertices: (V, 3) float32, in the file's own units.
        faces: (F, 3) int64, rows of `vertices`, counter-clockwise seen from outside.
    """

    name: str
    vertices: Float32[Tensor, "vertices 3"]
    faces: Int64[Tensor, "faces 3"]

    def centred(self, radius: float = 1.0) -> "Mesh":
        """The same surface with its bounding box centred at the origin and its farthest vertex at `radius`."""
        middle = (self.vertices.amin(0) + self.vertices.amax(0)) / 2
        moved = self.vertices - middle
        return Mesh(self.name, moved * (radius / moved.norm(dim=1).amax().clamp(min=1e-12)), self.faces)


def list_meshes(folder: Path | None = None) -> list[str]:
    """The named models that are at hand, sorted."""
    return sorted(file.stem for file in (data_folder(folder) / "meshes").glob("*.obj"))


def open_mesh(name_or_path: str | Path, *, folder: Path | None = None) -> Mesh:
    """Open a model by name or path. Polygons become triangles; vertices at the same place become one (files repeat them along the seams of a texture), and those that no face uses go.

    Args:
        name_or_path: a model of the dataset ``meshes``, or a file.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: there is no such model or file, or it holds no triangles.
        MissingError: the dataset, or trimesh, is not at hand.
    """
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"{path}: no such file")
        models = dataset_folder("meshes", folder=folder)
        path = models / f"{choose('model', name, list_meshes(folder))}.obj"
    trimesh = require("trimesh", "shapes")
    try:
        loaded = trimesh.load(path, force="mesh", process=False)
        finite = bool(torch.tensor(loaded.vertices).isfinite().all())
    except Exception as error:  # trimesh's readers raise whatever their formats make them stumble over
        raise InputError(f"{path} is no surface that can be read ({type(error).__name__}: {' '.join(str(error).split())[:80]})") from None
    if not len(loaded.faces):
        raise InputError(f"{path} holds no triangles")
    if not finite:
        raise InputError(f"{path} has vertices that are not finite")
    loaded.merge_vertices(merge_tex=True, merge_norm=True)
    return Mesh(name, torch.tensor(loaded.vertices).float(), torch.tensor(loaded.faces).long())
