"""What a subject says, and how likely it finds the answer."""
