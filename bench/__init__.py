"""Benchmarks: each part measures a figure and a named baseline in the same run, so that only their ratio need be believed."""
