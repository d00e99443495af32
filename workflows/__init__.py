"""Durable: what happens, in which order, for how long. Imports activities, the pure domain and ``temporalio`` only."""
