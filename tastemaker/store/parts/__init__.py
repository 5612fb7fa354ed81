"""What the store holds, one file a kind of row; `Store` joins them."""
