"""Tagging of words, and named entities."""
