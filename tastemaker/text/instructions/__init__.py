"""Instruction pairs and plain texts that language models learn from, made from training data alone."""
