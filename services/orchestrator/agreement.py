"""What a session was configured to: what the caller wishes for, and what the provider is told in its place.

The provider is told not to begin responses by itself at the end of an utterance, and to write no more than is held for. The caller is
told what it asked for, by the names that models have in the mesh.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tollway.models.v1 import models_pb2

from services.orchestrator import dialogue
from services.orchestrator.dialogue import Event
from services.orchestrator.failures import EventUnfit, ModelNotAllowed
from services.orchestrator.purse import Transcripts
from services.orchestrator.residency import heed
from services.orchestrator.road import Road
from services.runtime import identity

USUAL_FORMAT, ENDLESS = "audio/pcm", "inf"
REALTIME, TRANSCRIPTION = "realtime", "transcription"


@dataclass(slots=True)
class Agreement:
    road: Road
    model: models_pb2.Model
    labels: Mapping[str, str]
    transcribes: bool = False
    """Whether what is heard is written down, and nothing answered."""
    transcripts: Transcripts | None = None
    format: str = USUAL_FORMAT
    """Of the caller's sound."""
    spoken: str = USUAL_FORMAT
    """Of the model's."""
    most_written: Any = ENDLESS
    """The tokens of a response that the caller has asked for."""
    begins: bool = False
    """Whether the caller wants a response at the end of each utterance."""
    speaks: bool = True
    """Whether responses may have sound in them."""

    @property
    def kind(self) -> str:
        return TRANSCRIPTION if self.transcribes else REALTIME

    def opening(self, created: Event, wished: Event) -> Event:
        """What a session begins with that the caller wishes for, as it would ask for it: the provider's `session.created` tells what it
        would do otherwise."""
        session: Event = {"type": self.kind}
        if self.transcribes:
            heard = {"transcription": {"model": self.model.name}}
            return _merged({**session, "audio": {"input": heard}}, wished)
        if (turns := dialogue.turns(created)) is not None:
            session["audio"] = {"input": {"turn_detection": turns}}
        return _merged({**session, "max_output_tokens": ENDLESS}, wished)

    def agree(self, session: Event) -> None:
        """Takes in what the caller wishes for, and makes of it what the provider is told.

        Raises:
            EventUnfit, ModelNotAllowed, RegionNotAllowed
        """
        if session.get("type", self.kind) != self.kind:
            raise EventUnfit(at="session.type", rule=f"the session was opened as one of kind {self.kind}")
        if session.get("model") not in (None, self.model.name):
            raise EventUnfit(at="session.model", rule=f"the session was opened with {self.model.name}")
        most_written = session.get("max_output_tokens", self.most_written)
        self.fit(session, "session")
        if "model" in session:
            session["model"] = self.model.provider_model
        heard, spoken = (dialogue.within(session, "audio", way) for way in ("input", "output"))
        if "transcription" in heard:
            self._transcribe(heard)
        self.most_written = most_written
        self.format = str(dialogue.within(heard, "format").get("type") or self.format)
        self.spoken = str(dialogue.within(spoken, "format").get("type") or self.spoken)
        if "turn_detection" in heard and not self.transcribes:
            self._turns(heard["turn_detection"])
        if isinstance(modalities := session.get("output_modalities"), list):
            self.speaks = modalities != ["text"]

    def fit(self, wishes: Event, at: str) -> None:
        """What is asked of responses, without what nobody here could see, and with no more tokens than are held for.

        Raises:
            EventUnfit
        """
        if wishes.get("prompt") is not None:
            raise EventUnfit(at=f"{at}.prompt", rule="prompts that a provider keeps are not used")
        dialogue.functions_only(wishes.get("tools"), f"{at}.tools")
        if "max_output_tokens" in wishes:
            most, ours = wishes["max_output_tokens"], self.model.max_output_tokens
            if most is None or most == ENDLESS:
                most = ours
            wishes["max_output_tokens"] = min(most, ours) if isinstance(most, int) else most

    def shown(self, event: Event, own: Mapping[str, str]) -> Event:
        """A provider's event about its session, as the caller asked for it; `own` are its words by what was sent in their place."""
        session = dialogue.within(self.named(event), "session")
        if (turns := dialogue.turns(event)) is not None and not self.transcribes:
            turns["create_response"] = self.begins
        if (written := str(session.get("instructions"))) in own:
            session["instructions"] = own[written]
        if "max_output_tokens" in session:
            session["max_output_tokens"] = self.most_written
        transcription = dialogue.within(session, "audio", "input", "transcription")
        if self.transcripts is not None and "model" in transcription:
            transcription["model"] = self.transcripts.model.name
            if (prompt := str(transcription.get("prompt"))) in own:
                transcription["prompt"] = own[prompt]
        return event

    def named(self, event: Event) -> Event:
        """The caller knows the model by its name in the mesh."""
        if "model" in (session := dialogue.within(event, "session")):
            session["model"] = self.model.name
        return event

    def close(self) -> None:
        self._transcripts_by(None)

    def _turns(self, turns: Any) -> None:
        self.begins = isinstance(turns, dict) and turns.get("create_response") is not False
        if isinstance(turns, dict):
            turns["create_response"] = False

    def _transcribe(self, heard: Event) -> None:
        """By a model of the catalogue, which has its own price."""
        asked = heard["transcription"]
        if asked is None:
            self._transcripts_by(None)
            return
        name = asked.get("model", self.model.name if self.transcribes else None) if isinstance(asked, dict) else None
        model = self.road.models.known.get(name) if isinstance(name, str) else None
        if model is None or not model.second_tokens or model.provider != self.model.provider:
            rule = f"a model of {self.model.provider}'s that the catalogue has with `second_tokens`"
            raise EventUnfit(at="session.audio.input.transcription.model", rule=rule)
        caller = identity.caller()
        if not caller.allows(model.name):
            raise ModelNotAllowed(model=model.name)
        heed(model, caller.regions)
        asked["model"] = model.provider_model
        self._transcripts_by(Transcripts(self.road, model, self.labels))

    def _transcripts_by(self, transcripts: Transcripts | None) -> None:
        if self.transcripts is not None:
            self.transcripts.close()
        self.transcripts = transcripts


def _merged(usual: Event, said: Event) -> Event:
    """`usual` with what was said in its place, field by field."""
    made = dict(usual)
    for name, value in said.items():
        before = made.get(name)
        made[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return made
