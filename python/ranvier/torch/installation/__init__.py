"""How `import torch` finds this library: the modules that it makes, the names in them, and those left out."""
