"""Content-based recommenders: what products say about themselves."""
