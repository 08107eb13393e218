"""Training on several ranks: how fast, and how fast on more machines."""
