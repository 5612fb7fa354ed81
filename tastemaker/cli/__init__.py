"""The command line: results on stdout, progress and notes on stderr, exit 0, 1 (bug) or 2 (the caller's mistake)."""
