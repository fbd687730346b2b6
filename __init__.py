"""Lets type checkers and editors see the checkout as the package `stembeam`; it is not packaged."""
