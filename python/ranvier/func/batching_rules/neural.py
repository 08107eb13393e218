"""Batching rules of norms, attention, embeddings, recurrent layers, dropout."""
