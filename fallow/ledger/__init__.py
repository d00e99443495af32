"""The pure core of the ledger, with which anybody can check: tree, proofs, signed notes, checkpoints, entries. It knows no database."""
