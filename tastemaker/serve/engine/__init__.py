"""Answers without HTTP: the live model, batching, shoppers' sessions, the catalogue as it is now, time limits."""
