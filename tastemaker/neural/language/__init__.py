"""Language models and sentence encoders as networks: tuned, or reading products as tokens."""
