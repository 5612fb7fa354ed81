"""Collaborative filtering: who bought what, and nothing else unless an encoder is given."""
