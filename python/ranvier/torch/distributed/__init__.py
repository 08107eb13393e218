"""torch.distributed beside `ranvier.distributed`, and torch.multiprocessing."""
