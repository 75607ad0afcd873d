"""The field's formulas on plain arrays: measured here or read from another tool's file, one code computes them."""
