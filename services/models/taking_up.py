"""A stream that broke, taken up where it broke: the next call is shown what was said and asked to go on. Pure."""

from dataclasses import dataclass

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.runtime.errors import Failure

INSTRUCTION = (
    "Your answer was cut off by a fault. Go on from exactly where it stops, in the middle of a word if need be. "
    "Repeat nothing, and write no preface."
)
CHARACTERS_A_TOKEN = 4
PASSING = (faults.ProviderBroke, faults.ProviderSlow, faults.ProviderBusy, faults.ProviderAway)


@dataclass(slots=True)
class Said:
    """What the caller has been given so far."""

    id: str = ""
    text: str = ""
    begun: bool = False
    plain: bool = True
    """Text of one choice and nothing else: only that can be taken up."""
    broken: bool = False

    def noted(self, piece: chat.ChatChunk) -> chat.ChatChunk:
        """`piece`, as part of the one answer that the caller sees."""
        self.begun = True
        self.id = piece.id = self.id or piece.id
        for choice in piece.choices:
            self.text += choice.content
            if choice.index or choice.tool_calls or choice.refusal or choice.logprobs:
                self.plain = False
        return piece

    def can_go_on(self, failure: Failure, request: chat.ChatRequest) -> bool:
        """Once in an answer, and only where what was said is plain text in a chat."""
        shaped = request.response_format.type not in (
            chat.ResponseFormat.TYPE_UNSPECIFIED,
            chat.ResponseFormat.TYPE_TEXT,
        )
        fit = self.plain and not shaped and request.n <= 1 and not request.text_completion
        return fit and not self.broken and isinstance(failure, PASSING)

    def continued(self, request: chat.ChatRequest) -> chat.ChatRequest:
        """What to ask of whoever goes on."""
        if not self.text:
            return request
        asked = chat.ChatRequest()
        asked.CopyFrom(request)
        asked.messages.add(role=chat.ROLE_ASSISTANT).parts.add(text=self.text)
        asked.messages.add(role=chat.ROLE_USER).parts.add(text=INSTRUCTION)
        if asked.HasField("max_output_tokens"):
            asked.max_output_tokens = max(asked.max_output_tokens - self._tokens, 1)
        return asked

    def counted(self, usage: chat.Usage, before: int) -> int:
        """Adds to `usage` the `before` characters that an earlier call wrote; returns that call's input tokens."""
        usage.output_tokens += -(-before // CHARACTERS_A_TOKEN)
        usage.estimated = True
        return int(usage.input_tokens)

    @property
    def _tokens(self) -> int:
        return -(-len(self.text) // CHARACTERS_A_TOKEN)
