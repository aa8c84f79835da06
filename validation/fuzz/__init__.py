"""Hostile input: what is drawn, who reads it, and what may become of it."""
