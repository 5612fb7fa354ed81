"""Re-rankers: what they practise on, how they are trained, and how much they may say."""
