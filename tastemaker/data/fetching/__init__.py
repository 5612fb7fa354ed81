"""Public data sets by name: downloaded, verified, unpacked, and listed beside the data."""
