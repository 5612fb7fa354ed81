"""Models that write the next product: its codes, or its text."""
