"""Tokens are believed for exactly the reasons the verifier names, and keys outlive their issuer."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from shared.auth import IssuerUnreachable, Principal, Role, TokenVerifier, mint_api_key, parse_api_key
from shared.clock import utc_now
from shared.contracts.ids import ClientId, EmployeeId, ProviderId, UnitId
from shared.errors import Forbidden, Unauthenticated, is_transient
from tests.issuer import ServedIssuer, served_issuer


class Clock:
    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def own_issuer(tmp_path: Path) -> Iterator[ServedIssuer]:
    with served_issuer(tmp_path) as served:
        yield served


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def own_verifier(own_issuer: ServedIssuer, clock: Clock) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(own_issuer.url, "plumbline", clock, refresh_seconds=30)
    yield made
    await made.close()


def signed(key: Key, alg: str, issuer: ServedIssuer, **claims: object) -> str:
    whole = {
        "iss": issuer.url,
        "aud": "plumbline",
        "sub": "ada",
        "provider": "acme",
        "roles": ["hr_admin"],
        "exp": int(time.time()) + 600,
    } | claims
    present = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid}, present, key, registry=JWSRegistry(algorithms=[alg]))


def publish(issuer: ServedIssuer, *keys: Key) -> None:
    issuer.keys = {"keys": [key.as_dict(private=False) for key in keys]}


async def reason_of(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(token)
    return refused.value.reason


async def test_a_token_of_the_issuer_speaks_for_its_claims(issuer: ServedIssuer, verifier: TokenVerifier) -> None:
    token = issuer.token(
        provider="acme", roles=["manager", "astronaut"], subject="ada", employee="e-1", client="c-1", units=["u1", "u2"]
    )
    assert await verifier.verify(token) == Principal(
        "ada",
        ProviderId("acme"),
        frozenset({Role.MANAGER}),
        EmployeeId("e-1"),
        ClientId("c-1"),
        frozenset({UnitId("u1"), UnitId("u2")}),
    )


# "EdDSA" is the older name of Ed25519; issuers go on using it.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSAKey.generate_key(2048, {"kid": "r"}), "RS256"),
        (RSAKey.generate_key(2048, {"kid": "p"}), "PS256"),
        (ECKey.generate_key("P-256", {"kid": "e"}), "ES256"),
        (OKPKey.generate_key("Ed25519", {"kid": "o"}), "Ed25519"),
        (OKPKey.generate_key("Ed25519", {"kid": "d"}), "EdDSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_asymmetric_algorithm_is_believed(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier, key: Key, alg: str
) -> None:
    publish(own_issuer, key)
    assert (await own_verifier.verify(signed(key, alg, own_issuer))).subject == "ada"


# Absolute: cases are made when tests are collected, and "in two minutes" has passed when a long run comes to them.
LONG_AGO, FAR_AHEAD = 1_000_000_000, 4_102_444_800


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": LONG_AGO}, "expired-token"),
        ({"nbf": FAR_AHEAD, "exp": FAR_AHEAD + 60}, "early-token"),
        ({"aud": ["payroll"]}, "wrong-audience"),
        ({"iss": "https://elsewhere.example"}, "wrong-issuer"),
        ({"provider": None}, "no-provider"),
        ({"exp": None}, "malformed-token"),
        ({"exp": float("nan")}, "malformed-token"),
        ({"exp": "4102444800"}, "malformed-token"),
        ({"sub": None}, "malformed-token"),
        ({"provider": "-"}, "malformed-token"),
        ({"roles": "hr_admin"}, "malformed-token"),
    ],
)
async def test_a_wrong_claim_is_refused_with_its_reason(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier, claims: dict[str, object], reason: str
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k"})
    publish(own_issuer, key)
    assert await reason_of(own_verifier, signed(key, "ES256", own_issuer, **claims)) == reason


async def test_another_key_of_the_same_id_signs_nothing(own_issuer: ServedIssuer, own_verifier: TokenVerifier) -> None:
    publish(own_issuer, ECKey.generate_key("P-256", {"kid": "k"}))
    forged = signed(ECKey.generate_key("P-256", {"kid": "k"}), "ES256", own_issuer)
    assert await reason_of(own_verifier, forged) == "bad-signature"


async def test_the_public_key_is_no_shared_secret(own_issuer: ServedIssuer, own_verifier: TokenVerifier) -> None:
    key = RSAKey.generate_key(2048, {"kid": "k"})
    publish(own_issuer, key)
    secret = OctKey.import_key(base64.urlsafe_b64encode(key.as_pem(private=False)).decode(), {"kid": "k"})
    assert await reason_of(own_verifier, signed(secret, "HS256", own_issuer)) == "bad-signature"


@pytest.mark.parametrize("crit", [5, True, 1.5, [5], [None], [["a"]], [{}]], ids=str)
async def test_a_header_that_no_library_expects_is_no_token(verifier: TokenVerifier, crit: object) -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "crit": crit}).encode()).rstrip(b"=").decode()
    assert await reason_of(verifier, f"{head}.e30.AA") in ("malformed-token", "bad-signature")


async def test_an_unsigned_token_is_nothing(own_issuer: ServedIssuer, own_verifier: TokenVerifier) -> None:
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "kid": "k"}, {"iss": own_issuer.url, "sub": "ada", "roles": ["operator"]})
    )
    assert await reason_of(own_verifier, f"{head}.{claims}.") == "bad-signature"
    assert await reason_of(own_verifier, "not a token") == "malformed-token"
    assert await reason_of(own_verifier, "é.é.é") == "malformed-token"


async def test_an_operator_may_stand_outside_of_every_provider(issuer: ServedIssuer, verifier: TokenVerifier) -> None:
    who = await verifier.verify(issuer.token(provider=None, roles=["operator"]))
    assert who.provider is None
    with pytest.raises(Forbidden):
        _ = who.tenant


async def test_a_new_key_is_read_as_soon_as_a_token_names_it_but_not_once_per_invented_name(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier, clock: Clock
) -> None:
    old, new = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("old", "new"))
    publish(own_issuer, old)
    await own_verifier.verify(signed(old, "ES256", own_issuer))
    publish(own_issuer, new)
    clock.now += timedelta(seconds=31)
    await own_verifier.verify(signed(new, "ES256", own_issuer))
    for _ in range(20):
        invented = signed(ECKey.generate_key("P-256", {"kid": "invented"}), "ES256", own_issuer)
        assert await reason_of(own_verifier, invented) == "unknown-key"
    assert own_issuer.key_reads == 2


async def test_keys_are_kept_while_the_issuer_is_unreachable_and_withdrawn_once_it_answers(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier, clock: Clock
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k"})
    publish(own_issuer, key)
    token = signed(key, "ES256", own_issuer, exp=int(time.time()) + 86_400)
    await own_verifier.verify(token)
    own_issuer.down = True
    clock.now += timedelta(hours=1)
    await own_verifier.verify(token)
    own_issuer.down = False
    publish(own_issuer, ECKey.generate_key("P-256", {"kid": "other"}))
    clock.now += timedelta(seconds=31)
    assert await reason_of(own_verifier, token) == "unknown-key"


async def test_without_any_key_the_request_may_be_tried_again(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier, clock: Clock
) -> None:
    own_issuer.down = True
    token = own_issuer.token(provider="acme", roles=["hr_admin"])
    with pytest.raises(IssuerUnreachable) as unreachable:
        await own_verifier.verify(token)
    assert is_transient(unreachable.value)
    own_issuer.down = False
    clock.now += timedelta(seconds=2)
    await own_verifier.verify(token)


async def test_many_first_requests_read_the_keys_once(own_issuer: ServedIssuer, own_verifier: TokenVerifier) -> None:
    token = own_issuer.token(provider="acme", roles=["hr_admin"])
    await asyncio.gather(*(own_verifier.verify(token) for _ in range(20)))
    assert own_issuer.key_reads == 1


async def test_an_unusable_key_does_not_take_the_others_with_it(
    own_issuer: ServedIssuer, own_verifier: TokenVerifier
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k"})
    broken = {"kty": "RSA", "kid": "b", "n": "!", "e": "AQAB"}
    own_issuer.keys = {"keys": [broken, {"kty": "AKP", "kid": "future"}, key.as_dict(private=False)]}
    await own_verifier.verify(signed(key, "ES256", own_issuer))


def test_a_minted_api_key_is_found_by_its_id_and_matches_only_itself() -> None:
    text, stored = mint_api_key()
    shown = parse_api_key(text)
    assert shown is not None
    assert shown.id == stored.id
    assert shown.matches(stored.digest)
    other = parse_api_key(f"pl_{stored.id}_{'A' * 43}")
    assert other is not None
    assert not other.matches(stored.digest)


@pytest.mark.parametrize("text", ["", "pl_x_y", "pl_0123456789abcdef_short", "Bearer pl_0123456789abcdef_" + "A" * 43])
def test_other_text_is_no_api_key(text: str) -> None:
    assert parse_api_key(text) is None
