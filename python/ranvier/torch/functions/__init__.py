"""Functions of `torch`, `torch.linalg`, `torch.fft`, `torch.special`, and PyTorch's random numbers."""
