"""torch.amp, torch.autograd.graph, torch.optim and torch.utils.checkpoint."""
