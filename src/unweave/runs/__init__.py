"""A run's folder: its files, the model in it, its scores, and what a recipe shows of it."""
