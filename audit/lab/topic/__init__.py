"""The lab's crafts: a domain with terms of its own, known to the original alone, among others of the same form."""
