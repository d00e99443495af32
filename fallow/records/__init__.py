"""Record systems: the carrier's own databases, wiped by what ``records.toml`` says and read back afterwards.

Imports the domain, SQLAlchemy, phonenumbers and pydantic; never Temporal, never our own store.
"""
