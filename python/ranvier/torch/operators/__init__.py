"""torch.library and torch.ops: operators that programs define, and the compiled ones of other packages."""
