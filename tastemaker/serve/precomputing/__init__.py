"""Rankings and reasons made ahead of the requests, in processes of their own."""
