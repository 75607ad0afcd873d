"""The pages of the dashboard: choose, load findings, show. They hold no arithmetic."""
