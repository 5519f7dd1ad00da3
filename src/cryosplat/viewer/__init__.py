"""A finished run as an interactive page in the browser."""
