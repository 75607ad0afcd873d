"""Where in the weights something changed."""
