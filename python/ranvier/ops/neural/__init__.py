"""Attention, recurrence, embedding, dropout, normalisation and distances."""
