"""Who shows an API key, a client secret or an OIDC token, and on whose behalf work is done later."""

from dataclasses import dataclass
from datetime import datetime

from services.ledger import keys, roles
from services.ledger.client_secrets import ClientSecretOver, ClientSecrets
from services.ledger.oidc import PREFIX, Issuers
from services.ledger.people import People
from services.ledger.roles import Person
from services.ledger.store import ApiKey, Store
from services.runtime.identity import CLIENT_SECRET_PREFIX


@dataclass(frozen=True, slots=True)
class Credentials:
    store: Store
    people: People
    issuers: Issuers
    client_secrets: ClientSecrets

    async def shown(self, api_key: str, id_token: str, now: datetime) -> ApiKey:
        """
        Raises:
            KeyUnknown, KeyRevoked, KeyExpired, ClientSecretOver, IdTokenRefused, IssuerAway, NoRole
        """
        if api_key.startswith(CLIENT_SECRET_PREFIX):
            return await self._lent(api_key, now)
        if not id_token:
            return keys.usable(await self.store.find_key(keys.digest(api_key)), now)
        person = await self.issuers.person(id_token)
        made = await self._as_key(person, now)
        await self.people.remember(person, now)
        return made

    async def behalf(self, key_id: str, now: datetime) -> ApiKey:
        """The key that work was handed in under, or what its person is bound to now.

        Raises:
            KeyUnknown, KeyRevoked, KeyExpired, NoRole
        """
        if key_id.startswith(PREFIX):
            person = await self.people.person(key_id, now)
            if person is None:
                raise keys.KeyUnknown
            return await self._as_key(person, now)
        return keys.usable(await self.store.key(key_id), now)

    async def _lent(self, secret: str, now: datetime) -> ApiKey:
        found = await self.client_secrets.find(keys.digest(secret), now)
        if found is None:
            raise ClientSecretOver
        return found.narrowed(await self.behalf(found.key_id, now))

    async def _as_key(self, person: Person, now: datetime) -> ApiKey:
        grant = roles.granted(person, await self.people.bindings(person))
        return ApiKey(person.id, grant.account, "", b"", grant.admin, (), now, scopes=grant.scopes)
