"""Findings put into words and joined into tables, for pages and reports alike. Nothing here draws or measures."""
