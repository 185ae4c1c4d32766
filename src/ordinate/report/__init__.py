"""The gallery of all evidence."""
