"""Keys of a registration, read by the prefix that names their kind."""

from collections.abc import Callable, Mapping, Sequence

from fallow.domain.errors import SettingRefused
from fallow.platforms import rsa_key
from fallow.platforms.rsa_key import RsaKey
from fallow.platforms.signing import PublicKey
from fallow.platforms.verifying import VerifyingKey

#: Ed25519, as our own protocol and JOSE's ``EdDSA`` use it.
ED25519 = "whpk_"
#: RSA, as ``SHA256-RSA`` and JOSE's ``RS256`` use it.
RSA = rsa_key.PREFIX
_KINDS: Mapping[str, Callable[[str], VerifyingKey]] = {ED25519: PublicKey.from_text, RSA: RsaKey.from_text}


def read_key(text: str, prefixes: Sequence[str]) -> VerifyingKey:
    """Read a key of one of the kinds that its platform's adapter can verify with.

    Raises:
        SettingRefused: another kind, or a key that is not sound.
    """
    for prefix in prefixes:
        if text.startswith(prefix):
            return _KINDS[prefix](text)
    what = "A public key is of a kind that this adapter does not verify with."
    raise SettingRefused(what, remedy=f"write {' or '.join(f'`{prefix}…`' for prefix in prefixes)}; see docs/adapters.md.")
