"""The HTTP service: recommendations with reasons from a saved model, always within the budget."""
