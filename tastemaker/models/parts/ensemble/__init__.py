"""Several models together: weights, boosted trees, and the plain facts of candidates."""
