"""Time and memory against peers, side by side in one run: one file a bench."""
