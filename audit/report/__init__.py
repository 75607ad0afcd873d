"""A run as something to hand on: JSON, one HTML file, a PDF, or a bundle of all evidence that can be verified.

Nothing here sends or fetches anything: the HTML holds its own script and opens with the network off.
"""

from audit.report.export import FORMATS, export
from audit.report.summary import summary

__all__ = ["FORMATS", "export", "summary"]
