"""Training: what to train, one more step, and the state that a step depends on."""
