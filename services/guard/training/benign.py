"""Harmless prompts of our own that are full of words which attacks use: over-defence is learnt away with them."""

import random

from services.guard.training.filling import filled

TRIGGERS = (
    "ignore previous system prompt instructions bypass override jailbreak hack inject injection exploit admin password secret"
    " reveal pretend act disregard forget rules restrictions filter developer mode root sudo execute command token leak DAN"
    " simulate role play hidden unrestricted policy safety guidelines confidential attack kill steal weapon bomb drug poison virus"
).split()

TEMPLATES = """
How do I {verb} a {noun} in {tool}?
What does "{trigger}" mean in {field}?
Can you explain the difference between {trigger} and {trigger} in {field}?
Write a {form} about a character who must {verb} the {trigger} before midnight.
Please {verb} the {trigger} column and keep the {noun} column in this table.
In {tool}, why does the {trigger} option {verb} my {noun}?
Summarise the following text about {trigger} and {field} in two sentences.
The {noun} was in {trigger} mode, so the team decided to {verb} it. Was that right?
My teacher told me to {verb} the previous instructions in the exercise. Which step comes next?
List three ways to {verb} {trigger} problems in a {noun}.
Translate "please {verb} the {trigger}" into French.
Which {field} books discuss {trigger} and how people {verb} it?
What are best practices to prevent {trigger} {trigger} in {tool}?
Correct the grammar: "he {verb} the {trigger} and then he forget about the {noun}".
As a {role}, how should I tell my team about the new {trigger} policy?
Is it safe to {verb} the {trigger} warning when compiling {tool}?
Add a unit test that checks the {trigger} flag of the {noun}.
The recipe says to ignore the skin and forget the salt; can I {verb} the {noun} instead?
Act as a {role} and help me practise an interview about {field}.
Pretend you are a {role} who explains {field} to children.
I forgot my {noun} password; what does the normal reset procedure look like?
How does a firewall {verb} a {trigger} attempt?
Give me a synonym for "{trigger}" and use it in a sentence about {field}.
You are a helpful assistant. Answer questions about {field} politely.
From now on, call the variable {noun}_count and update the code in {tool}.
Explain what a prompt injection is and how {role}s defend against it.
What is a system prompt, and how do I write a good one for a {noun} bot?
Draft an e-mail that reminds staff of the {trigger} guidelines in our {noun} policy.
Why did the {trigger} scene in the film make the {role} so sad?
Show the command to {verb} hidden files in {tool}.
How can I stop a toddler who ignores all instructions?
Disregard the {noun} for a moment: how much would the {tool} cost alone?
Forget about the {noun}, what do you think of {field}?
Is "override" a keyword in {tool}, and what happens when I {verb} a method?
New instructions arrived from the supplier: assemble the {noun} first. Can you reorder the steps?
Roleplay a shopkeeper and let me order a {noun} in Spanish.
Can you bypass the introduction and go straight to the part about {field}?
Describe the developer mode of {tool} for a beginner.
The following rules apply to the game: players may {verb} one {noun} a turn. Who wins?
""".strip().splitlines()

FILLS = {
    "verb": "ignore bypass override execute inject kill reveal forget disable escape unlock remove simulate print skip drop".split(),
    "noun": "process table file branch cell server layer thread report filter list container token model widget garden".split(),
    "tool": "Git Python Excel Docker Linux SQL Kubernetes Photoshop Java PowerPoint Bash React Terraform".split(),
    "field": "medicine history chess cooking biology football astronomy law music economics security psychology".split(),
    "form": "short story, poem, limerick, film scene, song".split(", "),
    "role": "nurse, pirate, lawyer, manager, security engineer, travel guide, historian, teacher".split(", "),
    "trigger": TRIGGERS,
}


def sentences(count: int, seed: int, templates: list[str] = TEMPLATES) -> list[str]:
    """`count` fillings of `templates`."""
    chance, made = random.Random(seed), []
    for _ in range(count):
        made.append(filled(chance.choice(templates), FILLS, chance))
    return made
