"""Indexes, search, and the metrics of search."""
