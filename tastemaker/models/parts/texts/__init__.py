"""Texts of products and shoppers as vectors: whitened, mapped, and read by two towers."""
