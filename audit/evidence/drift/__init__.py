"""How far the hidden states moved."""
