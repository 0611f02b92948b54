"""What Anthropic's wire tells of tokens, and what is counted here where it does not."""

from services.models.wires.every import wires_over
from services.runtime.http import session
from tests.models.upstream import Upstream, asked, counter, stream, streamed, target


async def test_a_stream_whose_beginning_is_left_out_costs_what_is_counted(upstream: Upstream) -> None:
    request, whole = asked("anthropic"), stream("anthropic")
    async with session() as http:
        wire = wires_over(http, counter())["anthropic"]
        upstream.answer = whole
        told = (await streamed(wire, target("anthropic", upstream.url), request))[-1].usage
        upstream.answer = whole[whole.index(b"\n\n") + 2 :]
        counted = (await streamed(wire, target("anthropic", upstream.url), request))[-1].usage
    assert (told.input_tokens, told.estimated) == (120, False)
    assert (counted.input_tokens, counted.estimated) == (counter().prompt(request), True)
    assert counted.output_tokens == told.output_tokens
