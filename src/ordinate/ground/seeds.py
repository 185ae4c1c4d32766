"""Seeds derived from seeds.

Whatever is random is drawn from a generator whose seed is a hash of what it is for: `derive(seed, "batch", step)`. Two uses never share a stream,
and the draw at a step does not depend on what was drawn before it, which is what lets a killed run continue exactly.
"""

import hashlib

import torch

__all__ = ["derive", "generator"]


def derive(*keys: int | str) -> int:
    """A 63-bit seed that is a pure function of `keys` (of their order and type too), the same on every machine."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*keys: int | str) -> torch.Generator:
    """A CPU `torch.Generator` seeded by :func:`derive`."""
    return torch.Generator().manual_seed(derive(*keys))
