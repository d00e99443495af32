"""The sample before sale: which released numbers are looked at once more. Anybody who knows a cycle's id can draw it again."""

import hashlib

#: One in so many released numbers is drawn, unless the policy says otherwise.
ONE_IN = 20


def is_drawn(cycle_id: str, one_in: int) -> bool:
    """Tell whether a cycle is in the sample of one in ``one_in``; 0: none is.

    The draw is SHA-256 of a cycle's id, which is random and which no platform is ever told: nobody can choose or foresee it, and
    auditors recompute it.
    """
    if one_in < 1:
        return False
    drawn = hashlib.sha256(b"fallow.sample.v1\n" + cycle_id.encode()).digest()
    return int.from_bytes(drawn[:8]) % one_in == 0
