"""torch.utils: its modules are loaded at their first use."""
