"""The HTTP edge: one module for each thing people reach."""
