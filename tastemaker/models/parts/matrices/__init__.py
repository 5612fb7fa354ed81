"""Interaction matrices: co-occurrence, similarities, neighbours, ratings, factors."""
