"""Plain forms of what the package computes fast: written for reading, compared with in
``tests/test_models``."""
