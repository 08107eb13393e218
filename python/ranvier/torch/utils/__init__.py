"""torch.utils: a package whose modules are loaded at their first use (`names.py` says where they are)."""
