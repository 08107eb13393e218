"""Models with weights of 8 and 4 bits: what they cost in accuracy, and what a file of them takes to load."""
