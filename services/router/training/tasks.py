"""Our own labelled prompts for the task classifier: sentences of each kind, filled with varied matter."""

import random
from collections.abc import Sequence

MATTER = (
    "the water cycle", "a used bicycle", "our refund policy", "the French Revolution", "a late parcel", "the quarterly results",
    "solar panels", "a coffee machine", "the new office", "our onboarding guide", "black holes", "a sourdough starter",
    "the supplier contract", "jazz in the 1950s", "an unhappy guest", "a half marathon", "the release plan", "wind turbines",
    "a mortgage", "the board meeting", "a broken heater", "public transport", "honey bees", "a museum visit", "cloud costs",
)  # fmt: skip
NAMES = ("Ines", "Omar", "Priya", "Jonas", "Mei", "Carla", "Tom", "Aisha", "Lucas", "Nora")
LANGUAGES = ("German", "French", "Spanish", "Dutch", "Italian", "Portuguese", "Japanese", "Polish", "Hindi", "Turkish")
CODE_IN = ("Python", "Go", "TypeScript", "Java", "Rust", "SQL", "Bash", "C#", "Kotlin", "JavaScript")
THINGS = ("a rate limiter", "a binary tree", "pagination", "a CSV parser", "a retry loop", "an LRU cache", "a date picker",
          "a web hook", "a priority queue", "a migration", "an e-mail validator", "a worker pool")  # fmt: skip

TASKS = ("chat", "classification", "code", "extraction", "maths", "reasoning", "summarising", "translation")

TEMPLATES: dict[str, Sequence[str]] = {
    "chat": (
        "Hi, how are you today?", "Tell me something nice about {m}.", "Thanks {n}, that helped a lot!",
        "What do you think of {m}?", "I had a long day and want to talk about {m}.", "Who are you and what can you do?",
        "Recommend me a book about {m}.", "What is {m}?", "Can you explain {m} to a friend of mine?", "Good morning! Any ideas for lunch?",
        "Write a short birthday wish for {n}.", "Give me five names for a shop that sells things about {m}.",
        "I feel a bit nervous about {m}, any advice?", "Tell me a joke about {m}.", "Where does the interest in {m} come from?",
        "Write an e-mail to {n} about {m}.", "Draft a friendly reply to {n}, who asked about {m}.", "How do I start with {m}?",
    ),
    "classification": (
        "Classify this message as praise, complaint or question: \"{n} wrote about {m} again.\"",
        "Is the sentiment of this review positive or negative? Review: {m} was not what I hoped for.",
        "Which category fits best: billing, delivery, other? Text: I have a question on {m}.",
        "Label the following ticket with one of: bug, feature, question. Ticket: {m} does not load.",
        "Decide whether this text is spam. Answer yes or no.\n{n}, win {m} now!",
        "Assign a topic (sports, politics, science, culture) to: a report about {m}.",
        "Rate from 1 to 5 how urgent this is: {n} waits for an answer on {m}.",
        "Does the statement agree with the policy? Answer agree, disagree or unclear. Statement: {m} is covered.",
        "Tag each line with the right label out of A, B and C.\n1. {m}\n2. a note from {n}",
        "What is the intent of the user here: cancel, upgrade or complain? \"I want to talk about {m}\"",
        "Given the labels [urgent, normal, low], pick one for this e-mail from {n} on {m}.", "Is this toxic? {n} says {m} is boring.",
    ),
    "code": (
        "Write a {c} function that implements {t}.", "Fix this {c} code:\n```\nfor i in range(10)\n    print(i)\n```",
        "Why does my {c} program crash when I add {t}?", "Refactor the class below to use {t}.\n```\nclass A {{ }}\n```",
        "Write unit tests for {t} in {c}.", "How do I read a file line by line in {c}?", "Explain what this regular expression does: ^[a-z]+$",
        "Convert this {c} snippet to {c2}: x = [1, 2, 3]", "Write an SQL query that joins orders with customers and groups by month.",
        "What does this stack trace mean? NullPointerException at Main.java:42", "Add type hints to def f(a, b): return a + b",
        "Implement {t} in {c} with O(log n) lookups.", "Write a Dockerfile for a {c} service.", "Review this pull request that adds {t}.",
        "Generate a {c} struct for this JSON: {{\"id\": 1, \"name\": \"x\"}}", "My {c} build fails with: undefined reference to main",
    ),
    "extraction": (
        "Extract all dates and amounts from the text as JSON: On 3 May {n} paid 40 euros for {m}.",
        "List every person and company named in this article about {m}.", "Pull the order number out of this e-mail: {n}, order 88213, {m}.",
        "Return the fields name, city and phone from the following message from {n}.",
        "Find all product names in this text and give them as a list: {m}, a kettle and two lamps.",
        "Which e-mail addresses appear below? Write to {n} about {m}.", "Fill this schema from the text: {{\"title\": str, \"date\": str}}. Text: {m}, Friday.",
        "Get the key facts (who, what, when) from this note: {n} asked about {m} on Monday.", "Extract the skills from the CV of {n}.",
        "Copy out each sentence that mentions {m}.", "From the invoice below return total, tax and due date as JSON.",
        "Identify the named entities in: {n} flew to Lisbon to see {m}.",
    ),
    "maths": (
        "What is 17 * 23 + 4?", "Solve for x: 3x + 5 = 20.", "{n} buys 3 books at 12 dollars each and pays with 50. How much change is left?",
        "A train goes 120 km in 1.5 hours. How fast is it?", "Find the derivative of x^3 - 2x.", "What is 15 % of 260?",
        "Integrate sin(x) cos(x) from 0 to pi.", "If {n} has 24 apples and gives away a third, how many remain?",
        "Prove that the square root of 2 is irrational.", "The sum of two numbers is 48 and one is twice the other. Find both.",
        "What is the probability of two sixes with two dice?", "Compute the determinant of [[1, 2], [3, 4]].",
        "A tank fills in 6 hours and empties in 9. How long does it take with both open?", "How many ways can 5 people sit in a row?",
        "{n} saves 40 dollars a week. After how many weeks are there 1,000?", "Simplify (a^2 - b^2) / (a - b).",
    ),
    "reasoning": (
        "{n} is taller than Sam, Sam is taller than Kim. Who is the shortest and why?", "Three switches, one lamp in another room: how do you find the right one?",
        "Compare the pros and cons of {m} and decide which you would choose.", "Plan a project around {m} with steps, risks and owners.",
        "If all bloops are razzies and all razzies are lazzies, are all bloops lazzies?", "What would follow if {m} were banned? Think step by step.",
        "Which of the following statements must be true?\nA. Some cats fly.\nB. All cats sleep.\nC. No cat flies.\nAnswer:",
        "Find the flaw in this argument: {n} likes {m}, so everybody does.", "Why might {m} fail even though all numbers look good?",
        "Work out who lied: {n} says it was Kim, Kim says it was Sam, Sam says nothing. Only one tells the truth.",
        "Weigh the evidence for and against {m} and state how sure you are.", "What is the root cause if {m} breaks only on Mondays?",
        "Which city should we open in next, given rent, demand and {m}? Explain your reasoning.", "Is it ethical to charge more for {m}? Argue both sides.",
    ),
    "summarising": (
        "Summarise this text in two sentences: {m} has been debated for years by many people.", "Give me a TL;DR of the article on {m}.",
        "Condense the following minutes into five bullet points.\n{n} spoke of {m}.", "What are the main points of this report about {m}?",
        "Shorten this paragraph to half its length: {m} is a subject that {n} has studied for long.", "Write an abstract for a paper on {m}.",
        "Sum up the discussion between {n} and the team about {m}.", "Boil this thread down to decisions and open questions.",
        "Write a one-line headline for a story about {m}.", "Recap the last chapter, in which {n} meets {m}.",
        "Give an executive summary of the attached notes on {m}.", "Make this shorter while keeping every figure: {m}, 12 pages.",
    ),
    "translation": (
        "Translate into {l}: {m} is on the table.", "How do you say \"{m}\" in {l}?", "Render this letter from {n} in {l}, formally.",
        "Translate the following from {l} to English: guten Tag, wie geht es Ihnen?", "What is the {l} word for honesty?",
        "Übersetze ins Englische: {n} hat das Treffen verschoben.", "Traduis en anglais : le colis est arrivé hier.",
        "Give me this sentence in {l} and {l2}: see you tomorrow, {n}.", "Localise this button text into {l}: Save and continue.",
        "Is this {l} sentence a correct translation of \"good night\"?", "Traduce al inglés: ¿dónde está la estación?",
        "Translate these product descriptions about {m} into {l}.",
    ),
}  # fmt: skip


def sentences(of_each: int, seed: int, held_out: bool) -> list[tuple[str, str]]:
    """(text, task) pairs; every fourth template is kept for the held-out part."""
    pick = random.Random(seed)
    made = []
    for task, templates in TEMPLATES.items():
        own = [one for n, one in enumerate(templates) if (n % 4 == 3) == held_out]
        for _ in range(of_each):
            text = pick.choice(own).format(
                m=pick.choice(MATTER), n=pick.choice(NAMES), l=pick.choice(LANGUAGES), l2=pick.choice(LANGUAGES),
                c=pick.choice(CODE_IN), c2=pick.choice(CODE_IN), t=pick.choice(THINGS),
            )  # fmt: skip
            made.append((text, task))
    return made
