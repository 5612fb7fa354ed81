"""The page: the shopper's view and the operator's, as templates, scripts and styles that the same process serves."""
