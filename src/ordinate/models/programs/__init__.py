"""Programs over a table of numbers, and the transformers that run them by construction: no weight of theirs is trained."""
