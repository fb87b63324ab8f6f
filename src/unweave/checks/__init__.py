"""Measurements of the package itself: estimators against exact values, and speed."""
