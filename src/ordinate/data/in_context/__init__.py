"""Prompts that hold a regression problem each: what they are, the sequences of tokens that a model reads, and how they grow in training. One file a family of problems."""
