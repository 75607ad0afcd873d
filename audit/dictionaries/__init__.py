"""Dictionaries of features (sparse autoencoders): found on disk, in a release, or trained on the original's states."""
