"""Item identifiers as tuples of codes: quantisers, schemes, collisions, the trie over them, and the search in it."""
