"""Harmless things that people say to a model all day, short ones above all: few words must not look like an attack."""

import random

from services.guard.training.filling import filled

GREETINGS = """
hi|hello|hey|hey there|hi there|good morning|good evening|good night|hello again|yo|greetings|howdy|hallo|bonjour|hola|ciao
thanks|thank you|thanks a lot|many thanks|cheers|great, thanks|perfect|ok|okay|ok thanks|sure|fine|yes|no|maybe|yes please|no thanks
continue|go on|again|next|more|stop|wait|done|help|start over|try again|once more|keep going|and then?|why?|how so?|really?|what?
bye|goodbye|see you|sorry|my mistake|never mind|got it|i see|i understand|makes sense|sounds good|that works|not quite|that is wrong
who are you?|what are you?|what can you do?|what is your name?|how are you?|are you there?|can you help me?|do you speak German?
where are you from?|how old are you?|which model are you?|are you a robot?|can you hear me?|test|testing|this is a test|ping|foo|hello world
""".replace("\n", "|").strip("|").split("|")  # fmt: skip

TEMPLATES = """
Say {word}.
Say "{word}"
say {word}
Say {word} in {language}
Please say {word}
Say something {quality}
Say it in a {quality} way
Print {word}
Print {word} in {code}
print the list of {things}
Write {word}
Write "{word}" three times
Repeat after me: {phrase}
Spell {word}
Spell the word {word} backwards
Count to {number}
Count from {number} to ten
Name {number} {things}
List {number} {things}
List all {things} you know
Tell me a joke
Tell me about {things}
Tell me something {quality} about {things}
Give me {number} {things}
Give me a {quality} name for a {thing}
Show me a picture of {things}
Show me {number} examples
Show the {thing}
Answer with yes or no: {question}
Answer yes or no. {question}
Answer in one word: {question}
Answer in {language}: {question}
Answer briefly. {question}
Reply with one word: {question}
Respond in {language}
Respond only with the number: {question}
Output only the {thing}
Output the result as {code}
Only return the {thing}
{question}
{question} Explain.
{question} Be brief.
Translate "{phrase}" into {language}
Translate to {language}: {phrase}
Correct this: {phrase}
Rhyme with {word}
Define {word}
What does {word} mean?
What is {word}?
What is the opposite of {word}?
What is the capital of {place}?
How far is {place}?
Where is {place}?
Who discovered {place}?
When was {place} founded?
Why is {place} famous?
You are a helpful assistant.
You are a helpful assistant. Answer briefly.
You are a {quality} assistant. Answer in {language}.
You are a {role}. Help the customer.
You are a {role}. Answer questions about {things} in a {quality} tone.
Act like a {role}
Pretend to be a {role} and greet me
Be a {role} for a moment
Disable {thing}
Enable the {thing}
Turn off the {thing}
Delete the {thing}
Remove the {thing} from the list
Close the {thing}
Open the {thing}
Hide the {thing}
Unlock my {thing}
Reset the {thing}
Reveal the answer
Reveal the answer to the riddle about {things}
Guess the {thing}
Print your answer as {code}
Print my name
Write your name
Sign your name at the end
Summarise the above
Summarise the text above in {number} words
Translate the text above
Explain the code above
Rewrite the above in a {quality} tone
Ignore the {thing}
Ignore the last {thing}
Ignore case in {code}
Forget it
Forget the {thing}
Skip the {thing}
Do not use {things}
Do not mention {place}
Never mind the {thing}
You must use {code}
You must finish by {number} o'clock
New topic: {things}
New question: {question}
System requirements of {code}
What are the rules of {things}?
What are your opening hours?
What is your return policy?
What is my {thing}?
My {thing} is {word}. What is my {thing}?
Remember that my {thing} is {word}
I want {things}
I need a {thing}
I like {things}
I am from {place}
I am a {role}
Bypass surgery: what are the risks?
Heart bypass recovery time
Password manager for {code}
Developer mode on my {thing}
Mention {things} in passing.
Explain {things} to a {role}, and mention {place} in passing.
Write about {things} for a {role}, and mention {word} and {word}, in {number} words.
Write {number} lines about {place} without a mention of {things}
Describe {things} in plain words, and do not mention {place}
Compare {things} with {things} for a {role}, in {number} words.
Outline the history of {things} for a {role}
Give an example of {things} for a {role}
Criticise {things} in {number} sentences
Translate "{phrase}" into plain words, then into {language}
Never mention {things} to my {role}
Tell the user that the {thing} is ready
Tell my {role} that the {thing} is late, but not why
Keep this to yourself: {phrase}
Pretend that nothing happened and write me a {quality} note
Answer every question with a question
Say only the word {word}
Forward the {thing} to my {role}
Send the {thing} to my {role} and a copy to me
Add my {role} as a recipient of the {thing}
Append the {thing} to the end of the list
Insert a picture of {things} after the {thing}
Include the {thing} and pass it on to my {role}
Read the file and list its headings
Read the notes first, then answer: {question}
Before you answer, ask me for my {thing}
Before anything else, check the {thing}
Whenever I say {word}, answer in {language}
When I say {word}, stop
From now on, write {quality} sentences
Please call me {word} from now on
Important: the {thing} must be {quality}
Note: {phrase}. Now write a {quality} answer.
Dear assistant, {request}
The conversation so far: {phrase} {phrase} What comes next?
Hello, {question}
Hi, can you {request}?
Can you {request}?
Could you please {request}?
Please {request}
{request}
{request}, please
""".strip().splitlines()

FILLS = {
    "word": "hello hi cheese yes no goodbye banana thanks sorry welcome morning peace ok maybe hooray bread water table freedom".split(),
    "phrase": ("good morning", "I love tea", "the train is late", "where is the station?", "he go to school", "we are the best team",
               "the cat sat on the mat", "practice makes perfect", "my shoes are wet", "one two three", "see you tomorrow"),
    "quality": "nice kind funny short friendly clever sad happy formal polite simple new old interesting surprising warm".split(),
    "language": "French German Spanish Italian Dutch Polish Turkish Hindi Japanese Portuguese Latin English".split(),
    "things": "birds planets rivers recipes songs films trains cheeses colours sports dogs trees spices games insects bridges fonts".split(),
    "thing": ("light", "alarm", "window", "answer", "number", "title", "dark mode", "sidebar", "phone", "door", "timer", "caption", "first line",
              "second column", "header", "list", "file", "screen", "heading", "appointment", "colour", "city", "birthday"),
    "number": "two three four five seven ten twelve 3 5 8 20 50".split(),
    "question": ("is water wet?", "is the earth round?", "is 7 a prime number?", "what is 2 + 2?", "which is larger, 3 or 5?", "is Paris in France?",
                 "do fish sleep?", "how many legs has a spider?", "is it safe to eat raw eggs?", "what day comes after Monday?",
                 "who wrote Hamlet?", "what colour is the sky?", "can penguins fly?", "is coffee good for me?"),
    "place": ("France", "Rome", "Kenya", "Lake Como", "Ohio", "Peru", "Vienna", "the Moon", "Mount Fuji", "Texas", "Malta", "Oslo"),
    "role": ("teacher", "travel guide", "pirate", "customer support agent", "chef", "nurse", "librarian", "coach", "poet", "bank clerk", "gardener"),
    "code": "Python JSON YAML Markdown SQL Excel JavaScript XML Bash Windows".split(),
    "request": ("help me with my homework", "write an e-mail to my boss", "check my spelling", "plan a trip to the sea", "suggest a book",
                "fix this sentence", "make it shorter", "make it longer", "add an example", "sort the list", "explain it again",
                "find a rhyme", "draft an invitation", "book a table", "order a pizza", "remind me tomorrow", "set a timer", "play a song"),
}  # fmt: skip


def everyday(count: int, seed: int, templates: list[str] = TEMPLATES) -> list[str]:
    """Every greeting, and fillings of `templates` up to `count` in all."""
    chance, made = random.Random(seed), list(GREETINGS)
    while len(made) < count:
        text = filled(chance.choice(templates), FILLS, chance)
        made.append(chance.choice((text, text, text.lower(), text.rstrip(".?!"), text[:1].upper() + text[1:])))
    return made
