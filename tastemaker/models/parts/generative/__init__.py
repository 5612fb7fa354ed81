"""Models that write identifiers of products: the identifiers, token by token, and the networks."""
