"""Sequence models: their network, training on histories, and what a trained one answers."""
