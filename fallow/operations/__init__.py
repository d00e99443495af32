"""Use cases: each public function is one decision, made in one database transaction. Knows no Temporal and no HTTP."""
