"""Process: what a worker process runs, and how it starts and stops."""
