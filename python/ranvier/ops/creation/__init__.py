"""New tensors: filled ones and random ones."""
