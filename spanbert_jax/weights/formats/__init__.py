"""A module for each form in which released weights lie on disk; tensors.py chooses among them."""
