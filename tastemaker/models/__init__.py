"""Recommenders, one a file; the registry finds each by its name."""
