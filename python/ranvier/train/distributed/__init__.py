"""`Trainer(..., distributed=True)`: a run on several processes, with the bits of a run on one."""
