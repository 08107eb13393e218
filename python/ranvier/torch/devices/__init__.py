"""torch.cuda, torch.backends: the devices and the build that programs ask about."""
