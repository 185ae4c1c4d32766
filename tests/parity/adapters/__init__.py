"""Adapters: one file a paper, `check(case)`."""
