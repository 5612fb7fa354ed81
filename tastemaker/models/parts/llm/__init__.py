"""Rankers that ask a language model: questions, demonstrations, answers, tuning."""
