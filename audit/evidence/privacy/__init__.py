"""Whether an attacker can tell that the forgotten answers were once trained on."""
