"""What notifications is configured with, prefix `NOTIFICATIONS_`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import Port, ServiceSettings

_MAILBOX = re.compile(r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,255}$")


class NotificationsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_")

    http_port: Port = 8105

    smtp_host: str = Field(default="localhost", description="mail goes out through this server")
    smtp_port: int = Field(default=25, ge=1, le=65535)
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_tls: Literal["auto", "starttls", "tls"] = Field(
        default="auto", description="auto: STARTTLS where the server offers it; the others refuse to go without"
    )
    mail_from: Annotated[str, StringConstraints(pattern=_MAILBOX)] = Field(
        default="plumbline@localhost", description="sender of every mail; its domain ends the Message-ID"
    )
    portal_url: HttpUrl | None = Field(default=None, description="link in mails; without it they carry none")

    webhook_allow_private: bool = Field(
        default=False, description="lets webhooks go to http:// and private addresses: one machine and tests only"
    )

    @model_validator(mode="after")
    def _credentials_need_tls(self) -> Self:
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password go together")
        if self.smtp_username is not None and self.smtp_tls == "auto":
            raise ValueError("smtp_tls must be starttls or tls when a password is sent")
        return self
