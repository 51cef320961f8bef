from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from deploy.local.issuer import app
from deploy.local.tokens import ALGORITHM, AUDIENCE, TokenSigner

ISSUER = "http://issuer.test"


@pytest.fixture
def signer(tmp_path: Path) -> TokenSigner:
    return TokenSigner(tmp_path, ISSUER)


async def served_keys(signer: TokenSigner) -> KeySet:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(signer)), base_url=ISSUER) as client:
        discovery = (await client.get("/.well-known/openid-configuration")).json()
        assert discovery["issuer"] == ISSUER
        keys = (await client.get(discovery["jwks_uri"])).json()
    assert "d" not in keys["keys"][0]
    return KeySet.import_key_set(keys)


async def test_a_token_verifies_against_the_served_keys(signer: TokenSigner) -> None:
    token = signer.token(provider="acme", roles=["manager"], employee="e-1", client="c-1", units=["u-1", "u-2"])
    claims = jwt.decode(token, await served_keys(signer), algorithms=[ALGORITHM]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
    ).validate(claims)
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert {name: claims[name] for name in ("provider", "roles", "employee", "client", "units", "sub")} == {
        "provider": "acme",
        "roles": ["manager"],
        "employee": "e-1",
        "client": "c-1",
        "units": ["u-1", "u-2"],
        "sub": "e-1",
    }


async def test_the_token_of_an_operator_names_no_provider(signer: TokenSigner) -> None:
    token = signer.token(provider=None, roles=["operator"])
    assert "provider" not in jwt.decode(token, await served_keys(signer), algorithms=[ALGORITHM]).claims


async def test_tokens_of_an_earlier_run_still_verify(signer: TokenSigner, tmp_path: Path) -> None:
    later = TokenSigner(tmp_path, ISSUER)
    assert jwt.decode(signer.token(provider="acme", roles=[]), await served_keys(later), algorithms=[ALGORITHM])


async def test_an_expired_token_can_be_made(signer: TokenSigner) -> None:
    claims = jwt.decode(
        signer.token(provider="acme", roles=[], ttl=-1), await served_keys(signer), algorithms=[ALGORITHM]
    ).claims
    with pytest.raises(ExpiredTokenError):
        jwt.JWTClaimsRegistry().validate(claims)


async def test_a_token_of_another_key_does_not_verify(signer: TokenSigner, tmp_path: Path) -> None:
    stranger = TokenSigner(tmp_path / "other", ISSUER)
    with pytest.raises((JoseError, ValueError)):
        jwt.decode(stranger.token(provider="acme", roles=[]), await served_keys(signer), algorithms=[ALGORITHM])


def test_only_its_owner_reads_the_key(signer: TokenSigner, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "issuer-key.json").stat().st_mode) == 0o600
