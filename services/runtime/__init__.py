"""Embedded servers, and supervision of processes."""
