"""Whole networks, their registry, and the readers of the papers' own checkpoints."""
