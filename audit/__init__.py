"""Palimpsest audits forgetting: everything that is not a page.

Importing this package imports neither streamlit nor torch; heavy libraries are imported where they are used.
"""

__version__ = "0.3.0"
