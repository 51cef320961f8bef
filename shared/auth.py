"""Who is asking: OIDC bearer tokens, and the API keys with which sources post.

A token is believed when one of the issuer's current keys signed it, with an asymmetric algorithm, for this audience and
this time. Every refusal says which of these failed, so that whoever integrates can act without our logs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import httpx
import structlog
from joserfc import jws
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey, import_key
from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue, StringConstraints, ValidationError

from shared.clock import Clock
from shared.contracts.ids import IDENTIFIER, ClientId, EmployeeId, ProviderId, SourceId, UnitId
from shared.errors import Forbidden, Unauthenticated

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
_LEEWAY_SECONDS = 30
_KEYS_MAX_AGE = timedelta(minutes=10)
"""A key the issuer withdrew is believed at most this long, unless the issuer cannot be reached."""
_PAUSE_WITHOUT_KEYS = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


class Role(StrEnum):
    SOURCE = "source"
    CLIENT = "client"
    EMPLOYEE = "employee"
    MANAGER = "manager"
    FACILITATOR = "facilitator"
    HR_ADMIN = "hr_admin"
    COMPENSATION_ADMIN = "compensation_admin"
    AUDITOR = "auditor"
    OPERATOR = "operator"


_ROLES = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class Principal:
    subject: str
    provider: ProviderId | None
    roles: frozenset[Role]
    employee: EmployeeId | None = None
    client: ClientId | None = None
    units: frozenset[UnitId] = frozenset()
    source: SourceId | None = None

    def has(self, *roles: Role) -> bool:
        """Whether any one of `roles` is held."""
        return not self.roles.isdisjoint(roles)

    @property
    def tenant(self) -> ProviderId:
        """The provider whose rows this request works on; an operator of the whole platform has none and is refused."""
        if self.provider is None:
            raise Forbidden("this needs a token that names a provider", code="no-provider")
        return self.provider


class IssuerUnreachable(ConnectionError):
    """No key of the issuer was ever read: nobody can be told from anybody, and asking again later may help."""


class _Discovery(BaseModel):
    issuer: str
    jwks_uri: str


class _Jwks(BaseModel):
    keys: list[dict[str, JsonValue]]


class _Claims(BaseModel):
    # Finite, because a NaN compares false with every time and would never expire.
    model_config = ConfigDict(strict=True, frozen=True)

    iss: str
    aud: str | list[str]
    exp: FiniteFloat
    nbf: FiniteFloat = 0
    sub: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
    provider: Annotated[ProviderId, IDENTIFIER] | None = None
    roles: list[str] = []
    employee: Annotated[EmployeeId, IDENTIFIER] | None = None
    client: Annotated[ClientId, IDENTIFIER] | None = None
    units: list[Annotated[UnitId, IDENTIFIER]] = []


# A header's `crit` that is no list of texts is a TypeError to the library.
_UNREADABLE = (JoseError, ValueError, TypeError)


class TokenVerifier:
    """Believes the tokens of one issuer. Its keys are read at first use, kept, and kept on while it is unreachable."""

    def __init__(self, issuer: str, audience: str, clock: Clock, *, refresh_seconds: float = 30) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._pause = timedelta(seconds=refresh_seconds)
        self._http = httpx.AsyncClient(timeout=5)
        self._keys: KeySet | None = None
        self._read_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._reading = asyncio.Lock()

    async def verify(self, token: str) -> Principal:
        """The principal a bearer token speaks for; `Unauthenticated` with the reason for any other text."""
        try:
            signed = jws.extract_compact(token.encode("ascii"))
            kid = signed.headers().get("kid")
        except _UNREADABLE as error:
            raise Unauthenticated("the token is not a signed JWT", code="malformed-token") from error
        if signed.headers().get("alg") not in ALGORITHMS:
            raise Unauthenticated(f"the token must be signed with one of {', '.join(ALGORITHMS)}", code="bad-signature")
        keys = await self._keys_for(kid if isinstance(kid, str) else None)
        try:
            believed = jws.deserialize_compact(token, keys, algorithms=ALGORITHMS)
        except InvalidKeyIdError as error:
            raise Unauthenticated(
                "the token is signed with a key the issuer does not publish", code="unknown-key"
            ) from error
        except BadSignatureError as error:
            raise Unauthenticated("the signature is not the issuer's", code="bad-signature") from error
        except _UNREADABLE as error:
            raise Unauthenticated("the token and the issuer's key do not fit together", code="bad-signature") from error
        return self._principal(believed.payload or b"")

    async def close(self) -> None:
        await self._http.aclose()

    def _principal(self, payload: bytes) -> Principal:
        try:
            claims = _Claims.model_validate_json(payload)
        except ValidationError as error:
            wrong = sorted({str(found["loc"][0]) for found in error.errors() if found["loc"]})
            raise Unauthenticated(f"claims are missing or wrong: {', '.join(wrong)}", code="malformed-token") from error
        now = self._clock().timestamp()
        if claims.iss != self._issuer:
            raise Unauthenticated("the token comes from another issuer", code="wrong-issuer")
        if self._audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise Unauthenticated("the token is meant for another audience", code="wrong-audience")
        if claims.exp + _LEEWAY_SECONDS <= now:
            raise Unauthenticated("the token has expired", code="expired-token")
        if claims.nbf - _LEEWAY_SECONDS > now:
            raise Unauthenticated("the token is not valid yet", code="early-token")
        known = frozenset(_ROLES[role] for role in claims.roles if role in _ROLES)
        if claims.provider is None and Role.OPERATOR not in known:
            raise Unauthenticated("the token names no provider", code="no-provider")
        return Principal(
            subject=claims.sub,
            provider=claims.provider,
            roles=known,
            employee=claims.employee,
            client=claims.client,
            units=frozenset(claims.units),
        )

    async def _keys_for(self, kid: str | None) -> KeySet:
        if self._wants_reading(kid) and (not self._knows(kid) or not self._reading.locked()):
            # Who knows no key for this token waits for the one reading; all others go on with the keys they have.
            async with self._reading:
                if self._wants_reading(kid):
                    await self._read()
        if self._keys is None:
            raise IssuerUnreachable(f"no keys could be read from {self._issuer}")
        return self._keys

    def _knows(self, kid: str | None) -> bool:
        return self._keys is not None and (kid is None or any(key.kid == kid for key in self._keys))

    def _wants_reading(self, kid: str | None) -> bool:
        now = self._clock()
        # Tokens with invented key ids must not make us call the issuer once each.
        pause = self._pause if self._keys else _PAUSE_WITHOUT_KEYS
        if self._tried_at is not None and now - self._tried_at < pause:
            return False
        return not self._knows(kid) or self._read_at is None or now - self._read_at > _KEYS_MAX_AGE

    async def _read(self) -> None:
        try:
            address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            discovery = _Discovery.model_validate_json(await self._get(address))
            if discovery.issuer != self._issuer:
                raise ValueError("the discovery document names another issuer")
            keys = _usable(_Jwks.model_validate_json(await self._get(discovery.jwks_uri)).keys)
            if not keys:
                raise ValueError("the issuer publishes no usable key")
            self._keys, self._read_at = KeySet(keys), self._clock()
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("issuer keys not read", issuer=self._issuer, error=f"{type(error).__name__}: {error}"[:300])
        finally:
            self._tried_at = self._clock()

    async def _get(self, address: str) -> bytes:
        answer = await self._http.get(address)
        answer.raise_for_status()
        return answer.content


def _usable(published: Sequence[dict[str, JsonValue]]) -> list[Key]:
    """Signature keys we understand; one that we do not is left out rather than taking the others with it."""
    keys: list[Key] = []
    for entry in published:
        if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
            continue
        try:
            key = import_key({name: value for name, value in entry.items() if isinstance(value, str)})
        except (JoseError, ValueError):
            _log.warning("issuer key left out", kid=str(entry.get("kid")))
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            keys.append(key)
    return keys


_API_KEY = re.compile(r"pl_([A-Za-z0-9]{16})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: its id for looking it up, its digest for comparing. Only the digest is ever stored."""

    id: str
    digest: bytes

    def matches(self, stored_digest: bytes) -> bool:
        return hmac.compare_digest(self.digest, stored_digest)


def mint_api_key() -> tuple[str, ApiKey]:
    """A new key as the text that is shown once, and what to store of it."""
    key_id = secrets.token_hex(8)
    text = f"pl_{key_id}_{secrets.token_urlsafe(32)}"
    return text, ApiKey(key_id, hashlib.sha256(text.encode()).digest())


def parse_api_key(text: str) -> ApiKey | None:
    """`None` for text that cannot be one of our keys, whoever sent it."""
    found = _API_KEY.fullmatch(text)
    return ApiKey(found[1], hashlib.sha256(text.encode()).digest()) if found else None
