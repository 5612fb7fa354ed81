"""Augmentation: texts and interactions that are written, kept apart from what is real, and judged on validation."""
