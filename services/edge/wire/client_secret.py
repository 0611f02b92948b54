"""OpenAI's client secrets: what opens sessions for a browser, and how they begin."""

import uuid
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta, Struct
from tollway.ledger.v1 import client_secrets_pb2 as pb

from services.edge.wire.body import Name
from services.edge.wire.errors import as_json, decoded, missing, unfit

TRANSCRIPTION = "transcription"
MOST_SESSION_BYTES = 256 << 10


class Lasting(Struct, forbid_unknown_fields=True):
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600
    anchor: Literal["created_at"] = "created_at"


class Writing(Struct):
    model: Name | None = None


class Heard(Struct):
    transcription: Writing | None = None


class Audio(Struct):
    input: Heard | None = None


class Session(Struct):
    type: Literal["realtime", "transcription"] = "realtime"
    model: Name | None = None
    audio: Audio | None = None

    @property
    def written_by(self) -> str | None:
        """The model that writes down what is heard."""
        writing = self.audio.input.transcription if self.audio and self.audio.input else None
        return writing.model if writing else None

    def models(self) -> list[str]:
        """The one that it is held with first.

        Raises:
            Refusal: none is named.
        """
        if self.type == TRANSCRIPTION:
            if self.written_by is None:
                raise missing("session.audio.input.transcription.model")
            return [self.written_by]
        if self.model is None:
            raise missing("session.model")
        return [self.model, *(one for one in [self.written_by] if one not in (None, self.model))]


class SecretBody(Struct, forbid_unknown_fields=True):
    session: Session = msgspec.field(default_factory=Session)
    expires_after: Lasting | None = None


_BODY = msgspec.json.Decoder(SecretBody)


def request(raw: bytes, request_id: str) -> tuple[pb.CreateClientSecretRequest, dict[str, Any]]:
    """What is asked, and the session as it was written.

    Raises:
        Refusal: a field that breaks a rule.
    """
    body = decoded(_BODY, raw or b"{}")
    made = pb.CreateClientSecretRequest(request_id=request_id, models=body.session.models())
    session = {"type": body.session.type, **orjson.loads(raw)["session"]}
    made.session = as_json(session, "session")
    if len(made.session.encode()) > MOST_SESSION_BYTES:
        raise unfit("session", f"at most {MOST_SESSION_BYTES} bytes")
    made.lifetime.FromSeconds((body.expires_after or Lasting()).seconds)
    return made, session


def transcribes(session: str) -> bool:
    """Whether a session that was written down so only writes down what is heard."""
    return bool(orjson.loads(session)["type"] == TRANSCRIPTION)


def shown(made: pb.CreateClientSecretResponse, session: dict[str, Any]) -> bytes:
    kind = "realtime.transcription_session" if session["type"] == TRANSCRIPTION else "realtime.session"
    begun = {"id": f"sess_{uuid.uuid4().hex[:20]}", "object": kind, **session, "expires_at": 0}
    return orjson.dumps({"value": made.secret, "expires_at": made.expires.seconds, "session": begun})
