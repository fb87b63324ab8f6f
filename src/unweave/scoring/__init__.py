"""Scores of any model's codes against known factors, and their page."""
