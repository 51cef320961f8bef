"""The development OIDC issuer: discovery and keys for the tokens that `deploy.local.tokens` signs."""

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

from deploy.local.tokens import TokenSigner


def app(signer: TokenSigner) -> FastAPI:
    served = FastAPI(title="Plumbline development issuer", docs_url=None, redoc_url=None)

    @served.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, object]:
        return signer.discovery()

    @served.get("/jwks")
    async def key_set(response: Response) -> dict[str, list[dict[str, object]]]:
        response.headers["Cache-Control"] = "public, max-age=300"
        return signer.key_set()

    return served


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.issuer", description=__doc__)
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    signer = TokenSigner(given.state, f"http://127.0.0.1:{given.port}")
    uvicorn.run(app(signer), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
