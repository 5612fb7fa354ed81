"""Prompts: the versioned templates, their wordings, and what they look like filled in."""
