"""Rows held to a schema, on their way into the lake or without one."""
