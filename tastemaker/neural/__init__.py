"""Neural networks over purchase histories: batches, losses, blocks, and the one training loop. Needs torch."""
