"""What models are made of and share; the registry takes no module in here for a model."""
