"""Grids of runs: what to run, who works on it, what was measured, and its page."""
