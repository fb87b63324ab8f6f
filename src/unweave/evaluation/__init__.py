"""A trained model and data become scores and arrays."""
