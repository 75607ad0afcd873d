"""Results of other tools, read as they were written, recomputed where they can be, and kept as findings."""
