"""Rewrites of operators: in the float graph before the quantizer, and in integers after it."""
