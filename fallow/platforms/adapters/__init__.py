"""How each kind of platform is spoken to: one adapter each behind ``ports.Platform``."""
