"""Recommenders that ask a language model."""
