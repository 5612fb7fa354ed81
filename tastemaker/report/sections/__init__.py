"""The sections of a comparison's page: one function each, from the comparison to a `Section`."""
