"""The verdict: reads the carrier, the platforms, Temporal and our tables from outside, and believes none of the engine's claims.

It is run by path, in a Python of its own, and imports the standard library, cryptography and the Temporal client; nothing of the
engine. What both must know (digests, derivations, the order of states) is written here a second time on purpose.
"""
