"""The HTTP face of the engine. Imports the composition root and the use cases; decides nothing itself."""
