"""The listening socket of the service and the connections that come over it."""
