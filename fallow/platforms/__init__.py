"""The way to platforms: signing, protocol, addresses, transport and the platforms map. Knows no Temporal and no database."""
