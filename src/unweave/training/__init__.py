"""Training: a recipe, one more step, and the state that a step depends on."""
