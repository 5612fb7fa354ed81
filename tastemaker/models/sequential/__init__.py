"""Models that read a history in order."""
