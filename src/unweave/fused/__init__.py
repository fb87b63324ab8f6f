"""The log-sum-exp over pairs of rows and components, with its gradient: tensors in, tensors out."""
