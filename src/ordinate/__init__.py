"""Representation learning, each method checked against its own paper's claims on your machine."""

__version__ = "0.1.0"
