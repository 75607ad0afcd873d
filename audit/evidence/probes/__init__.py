"""What can be read out of hidden states."""
