"""A finished run in which a platform has spoken otherwise: its kept messages signed anew, as it or its hub would have signed them."""

import hashlib
import hmac
import re
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SECRET = bytes(range(60, 92))


def speak_by_hmac(folder: Path, platform: str, speaker: str) -> str:
    """Let everything of ``platform`` have been signed under a secret that it, or its hub ``speaker``, shares; return the secret."""
    cipher = AESGCM((folder / "keys" / "evidence.key").read_bytes())
    with closing(sqlite3.connect(folder / "fallow.db")) as connection, connection:
        kept = connection.execute("SELECT delivery_id, digest, signed_at, body FROM deliveries WHERE platform_id = ?", (platform,))
        for delivery, digest, signed_at, sealed in kept.fetchall():
            head, nonce = sealed[:9], sealed[9:21]
            padded = cipher.decrypt(nonce, sealed[21:], f"answer|webhook|{platform}|{delivery}".encode())
            content = padded[4 : 4 + int.from_bytes(padded[:4], "big")]
            made = hmac.digest(_SECRET, f"{delivery}.{signed_at}.".encode() + content, "sha256")
            signature = "v1," + b64encode(made).decode()
            anew = hashlib.sha256(f"{speaker}.{delivery}.{signed_at}.{signature}.".encode() + content).hexdigest()
            body = head + nonce + cipher.encrypt(nonce, padded, f"answer|webhook|{speaker}|{delivery}".encode())
            columns = "platform_id = ?, signature = ?, digest = ?, body = ?"
            connection.execute(f"UPDATE deliveries SET {columns} WHERE delivery_id = ?", (speaker, signature, anew, body, delivery))
            connection.execute("UPDATE events SET body = replace(body, ?, ?)", (digest, anew))
            for column in ("evidence", "confirmed"):
                connection.execute(f"UPDATE obligations SET {column} = ? WHERE {column} = ?", (anew, digest))
    return _register(folder / "platforms.toml", platform, speaker)


def _register(path: Path, platform: str, speaker: str) -> str:
    """Write the secret, and the hub where there is one, into the platforms map; the platform has no key of its own then."""
    secret = "whsec_" + b64encode(_SECRET).decode()
    tables = path.read_text().split("[[platform]]")
    (mine,) = (place for place, table in enumerate(tables) if f'id = "{platform}"' in table)
    table = re.sub(r"(?m)^public_keys = .*\n", "", tables[mine])
    if speaker == platform:
        tables[mine] = f'{table.rstrip()}\nshared_secret = "{secret}"\n\n'
    else:
        (looks,) = re.findall(r"(?m)^status_url = .*\n", table)
        tables[mine] = f'{table.replace(looks, "").rstrip()}\nvia = "{speaker}"\n\n'
        about = f'id = "{speaker}"\ncategory = "social"\nadapter = "hub"\ncontact = "x"\nurl = "http://127.0.0.1:1/"\n'
        tables.append(f'\n{about}{looks}shared_secret = "{secret}"\nallow_loopback = true\n')
    path.write_text("[[platform]]".join(tables))
    return secret
