"""What a dictionary of features says: which features still fire, and what they carry."""
