"""Inputs whose features are known: independent, balanced and equally predictive by construction, so that what a network makes of each can be told apart. One file a kind of input."""
