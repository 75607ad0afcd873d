"""One question to a case per file; the family is the folder."""
