"""Callbacks, called between the steps of a run: the base class, those that act on a run, and that record
it."""
