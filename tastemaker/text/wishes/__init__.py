"""Wishes in words, read by rules or by a language model, against what a catalogue can name."""
