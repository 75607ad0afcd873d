"""What comes back when somebody tries."""
