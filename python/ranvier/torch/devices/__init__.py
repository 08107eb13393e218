"""torch.cuda, torch.backends, torch.version: the devices and the build that programs ask about."""
