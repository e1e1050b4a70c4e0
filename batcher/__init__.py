"""Decide when which requests run together, put them together, take them apart. Knows no model, device or protocol."""
