"""The batching rules of the library's Functions and kernels, a module for each family of ops."""
