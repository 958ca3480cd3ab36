"""The client of the external API that a note is synchronized with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import aiohttp

if TYPE_CHECKING:
    from poolhog.lab.service.settings import Settings


class ExternalApiError(Exception):
    """The external API failed, or did not answer in time."""


class ExternalApi:
    """A client without a limit of connections: calls never wait for each other."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.external_api_url
        self._timeout = aiohttp.ClientTimeout(total=settings.external_api_timeout)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            self._url, connector=aiohttp.TCPConnector(limit=0), timeout=self._timeout
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def sync_note(self, note_id: int) -> str:
        """The note's new data. Raises ``ExternalApiError``."""
        try:
            async with self._http.post(f"/notes/{note_id}") as response:
                if response.status != 200:
                    raise ExternalApiError(f"the external API answered {response.status}")
                return str((await response.json())["data"])
        except TimeoutError:
            raise ExternalApiError(
                f"the external API did not answer within {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
            raise ExternalApiError(f"the external API failed: {error}") from error
