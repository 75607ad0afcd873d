"""Findings drawn as Plotly figures, for pages and reports alike. Nothing here knows of streamlit."""
