"""Signs tokens with the key of this machine's development issuer. Never for production."""

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from deploy.local.files import locked, private_directory, write_private

AUDIENCE = "plumbline"
ALGORITHM = "ES256"
HALF_A_DAY = 12 * 3600


class TokenSigner:
    """Signs tokens with the key kept in `state`, made on first use.

    Tokens and key set agree across processes that share `state`, so a token signed here verifies
    against the key set served over HTTP.
    """

    def __init__(self, state: Path, issuer: str) -> None:
        self.issuer = issuer
        self._key = _signing_key(private_directory(state) / "issuer-key.json")

    def token(
        self,
        *,
        provider: str | None,
        roles: Sequence[str],
        subject: str | None = None,
        employee: str | None = None,
        client: str | None = None,
        units: Sequence[str] = (),
        ttl: float = HALF_A_DAY,
        now: float | None = None,
    ) -> str:
        """A signed token; claims without a value are left out. A negative `ttl` gives one that has expired."""
        issued = int(time.time() if now is None else now)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject or employee or f"{'-'.join(roles)}@{provider or 'platform'}",
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(ttl),
            "jti": str(uuid.uuid4()),
            "roles": list(roles),
            "units": list(units),
        }
        named = {"provider": provider, "employee": employee, "client": client}
        claims |= {name: value for name, value in named.items() if value is not None}
        registry = JWSRegistry(algorithms=[ALGORITHM])
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key, registry=registry)

    def key_set(self) -> dict[str, list[dict[str, object]]]:
        """The public keys, as served at the address that discovery names."""
        return {"keys": [{**self._key.as_dict(private=False), "use": "sig", "alg": ALGORITHM}]}

    def discovery(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        }


def _signing_key(path: Path) -> ECKey:
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            fresh = ECKey.generate_key("P-256", parameters={"kid": uuid.uuid4().hex}, private=True)
            write_private(path, json.dumps(fresh.as_dict(private=True)))
        return ECKey.import_key(json.loads(path.read_text()))
