"""How work is done beside the event loop: threads that all shops share, batches, and the way to what may fail."""
