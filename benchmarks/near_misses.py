"""Near misses of our own that a cache must not serve: `python -m benchmarks.near_misses`.

Twelve kinds of pairs that look alike and ask for something else, each asked of a store that holds the other alone. The last
line names the share that is served, by kind and overall; `--threshold` changes the chance from which a hit is served.
"""

import argparse
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.cache_quality import paired
from services.cache.app import Settings

KINDS: dict[str, tuple[str, str]] = {
    "number": (
        "How do I split a bill of {} euros between friends?|List {} ideas for a birthday party|What is the square root of {}?"
        "|Can a team of {} people share one licence?|Write a poem of {} lines about the sea|How long does it take to walk {} steps?"
        "|Is {} a prime number?|Summarise the report in {} bullet points|What does error {} mean?",
        "12/21 3/30 16/18 100/1000 7/9",
    ),
    "date": (
        "Which holidays fall on {}?|What happened on {}?|Book the meeting room for {}|Is the office open on {}?"
        "|How many days are left until {}?|Which invoices are due on {}?|Who is on call on {}?|Draft a notice that the move is on {}"
        "|What was the exchange rate on {}?",
        "3_May/5_May 2024-01-02/2024-02-01 Monday/Tuesday 1_March_2023/1_March_2024 Christmas_Eve/New_Year's_Eve",
    ),
    "unit": (
        "Convert 40 {} to a common measure|How far is a run of 10 {}?|How much does a crate of 12 {} cost to ship?"
        "|Is a limit of 60 {} safe?|What is 5 {} in other units?|Why is the default 30 {}?|Can the tank take 20 {}?"
        "|Does the belt stand 100 {}?|Explain why the spec says 8 {}",
        "kilometers/miles kilograms/pounds celsius/fahrenheit minutes/seconds liters/gallons",
    ),
    "negation": (
        "Why {} the build pass on Linux?|{} I share the link with a customer?|Which plans {} include support?"
        "|{} the lease allow pets?|Explain why the tests {} run in parallel|Who {} need a visa for Chile?"
        "|When {} the warranty apply?|Which files {} belong in version control?|Why {} my plants grow in the shade?",
        "does/doesn't can/can't do/don't should/shouldn't will/won't",
    ),
    "entity": (
        "How do I move my mailbox to {}?|What are the strengths of {}?|Write a cover letter to {}|When was {} founded?"
        "|Who leads {} at the moment of writing?|How does {} make money?|Compare the pricing of {} with its rivals"
        "|What do customers say about {}?|Is {} a good place to work?",
        "Google/Microsoft Toyota/Honda Nike/Adidas Siemens/Bosch Spotify/Netflix",
    ),
    "direction": (
        "How do I migrate from {0} to {1}?|What is lost when converting {0} to {1}?|Translate this sentence from {0} into {1}"
        "|Why do people switch from {0} to {1}?|Write a script that copies {0} into {1}|How long is the way from {0} to {1}?"
        "|Is {0} better than {1}?|What does it cost to move from {0} to {1}?|Does {0} depend on {1}?",
        "MySQL/PostgreSQL JSON/XML German/Polish Lyon/Geneva staging/production",
    ),
    "tense": (
        "What {} the price of the premium plan?|Who {} responsible for the audit?|Where {} the spare keys kept?"
        "|When {} the shop closed?|Which team {} in charge of billing?|Why {} the road blocked?|How {} the data stored?"
        "|What {} the rules for remote work?|Whose turn {} it to cook?",
        "is/was is/will_be was/will_be are/were are/will_be",
    ),
    "quantifier": (
        "Do {} employees get a laptop?|Are {} of the servers patched?|Can {} users reset a password?|Will {} flights be cancelled?"
        "|Did {} of the tests fail?|Why do {} cats hate water?|Should {} meetings have an agenda?|Are {} mushrooms edible?"
        "|Must {} visitors sign in?",
        "all/no most/few every/hardly_any all/half_of_the most/only_two",
    ),
    "place": (
        "What is the minimum wage in {}?|Best vegetarian restaurants in {}|How do I register a company in {}?"
        "|What is the climate of {} like in spring?|Which vaccines do I need for {}?|How many people live in {}?"
        "|Is it safe to cycle in {}?|What time is it in {}?|Where can I park overnight in {}?",
        "Portugal/Spain Vienna/Prague Texas/Ohio Kenya/Uganda Leeds/York",
    ),
    "version": (
        "What is new in {}?|How do I upgrade to {}?|Is {} still supported?|Why does my code break under {}?"
        "|Which bugs were fixed in {}?|How do I install {} on a server?|Does the plugin work with {}?"
        "|Where is the change log of {}?|Is {} faster than the one before?",
        "Python_3.11/Python_3.12 Node_18/Node_20 Postgres_15/Postgres_16 version_2.1.0/version_2.0.1 HTTP/2/HTTP/3",
    ),
    "currency": (
        "How much is 250 {} today's coffee worth?|Show the price list in {}|What is the fee for sending 1,000 {}?"
        "|Why is my salary paid in {}?|Can I open a savings account in {}?|Round the totals to whole {}"
        "|Which bank notes exist in {}?|Write the invoice in {}|Is a loan in {} a good idea?",
        "dollars/euros USD/CAD pounds/yen francs/kronor GBP/EUR",
    ),
    "code": (
        "What does {} return?|How do I mock {} in a test?|Why is {} deprecated?|Show an example that calls {}"
        "|Which exceptions does {} raise?|Is {} thread safe?|What is the default value of {}?|Rename {} everywhere in the module"
        "|When should I use {}?",
        "list.append/list.extend get_user/set_user max_retries/max_rate os.path.join/str.join parseInt/parseFloat",
    ),
}  # fmt: skip


def pairs() -> list[dict[str, str]]:
    """Rows a, b, label (0) and kind."""
    made = []
    for kind, (frames, values) in KINDS.items():
        for frame in frames.split("|"):
            for both in values.split():
                one, other = _two(both)
                asked = (one, other) if "{0}" in frame else (one,)
                turned = (other, one) if "{0}" in frame else (other,)
                a, b = (frame.format(*filled) for filled in (asked, turned))
                made.append({"a": a[0].upper() + a[1:], "b": b[0].upper() + b[1:], "label": "0", "kind": kind})
    return made


def _two(both: str) -> tuple[str, str]:
    one, other = ("HTTP/2", "HTTP/3") if both == "HTTP/2/HTTP/3" else both.split("/")
    bare = "get_user set_user max_retries max_rate".split()
    return (one, other) if one in bare else (one.replace("_", " "), other.replace("_", " "))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--threshold", type=float, default=Settings().threshold)
    threshold = asked.parse_args().threshold
    found = pairs()
    facts: dict[str, Any] = uvloop.run(paired(found, Settings().error_bound, threshold))
    by_kind = {kind.removesuffix("/trap"): served for kind, served in facts["by_kind"].items()}
    report.table(f"{len(found)} near misses at {threshold}", ("kind", "served"), list(by_kind.items()))
    report.finish({"pairs": len(found), "threshold": threshold, "served": facts["traps_served"], "by_kind": by_kind})


if __name__ == "__main__":
    main()
