"""Sampling and decoding from a trained model."""
