"""Language models: prompts in, completions and likelihoods out."""
