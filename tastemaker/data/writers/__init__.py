"""Writing shop data: the canonical folder, and what other programs read; the reverse of `data.readers`."""
