"""The tape: Functions, what they make of Tensors, and backward."""
