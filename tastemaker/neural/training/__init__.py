"""How networks are trained: the one loop, its schedule, optimiser, checkpoints, curves and early stop."""
