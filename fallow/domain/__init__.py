"""The rules of recycling, pure: what may happen to a number, and what proves it.

Imports the standard library only, so that every rule can be read, tested and replayed without a database,
a network or Temporal.
"""
