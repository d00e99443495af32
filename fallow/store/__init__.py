"""The database: tables, the one commit, and what is read and written in it. Knows no Temporal and no HTTP."""
