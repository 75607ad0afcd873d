"""Published formulas, as plain functions of arrays."""
