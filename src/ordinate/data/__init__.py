"""Datasets by name or path, augmentations on tensors, tokenizers."""
