"""Harmless things that documents, tools and systems say: they speak to whoever reads them, and must not look like an attack for that."""

import random

from services.guard.training.filling import filled

TEMPLATES = """
You have {number} unread {things}.
You have {number} new {things} since {time}.
You have no {things} left.
You have been signed out of {product}.
You have been added to the {thing} "{name}".
You are now signed in as {person}.
You are now subscribed to {product}.
You are not allowed to {act} this {thing}.
You are {number} places from the top of the {thing}.
You can {act} your {thing} at any time in {product}.
You can {act} the {thing} by calling {code}.
You can {act} a {thing} in {product} with the {option} option.
You can use {code} to {act} your {things}.
You can also {act} several {things} at once.
You can find the {thing} under {place}.
You may {act} up to {number} {things} a {unit}.
You may not copy, sell or lend this {thing} without permission.
You must be signed in to {act} this {thing}.
You must {act} the {thing} before you can {act} it again.
You must set {setting} to {value} first.
You need a {role}'s permission to {act} {things}.
You need to restart {product} for this to take effect.
You should {act} the {thing} at least once a {unit}.
You said: {phrase}
You asked: {phrase}
You wrote: {phrase}
You selected {number} of {number} {things}.
You will receive a {thing} within {number} {unit}s.
You will be asked to {act} the {thing} again.
You'll need {code} and a {thing}.
Your {thing} has been {done}.
Your {thing} was {done} on {date}.
Your {thing} is {state}.
Your {thing} will expire on {date}.
Your {thing} could not be {done}: {reason}.
Your {things} are {state}.
Your request has been {done}.
Your request could not be {done}: {reason}.
Your order {id} has been {done}.
Your appointment is on {date} at {time}.
Your plan includes {number} {things} a {unit}.
Your password was changed on {date}.
Your password must have at least {number} characters.
Your session has ended. Please sign in again.
Your changes were saved.
Your trial ends in {number} {unit}s.
The {thing} has been {done}.
The {thing} "{name}" was {done} by {person}.
The {thing} is {state}.
The {thing} must be {done} before {date}.
The {role} should {act} the {thing} every {unit}.
The system is {state}.
The request was {done} after {number} {unit}s.
The response contains {number} {things}.
The {option} option lets you {act} the {thing}.
The {setting} setting is {value} by default.
The password for the {thing} is kept in {product}.
The previous {thing} was {done}; the new one is {state}.
The rules of the {thing} are listed under {place}.
The instructions for the {thing} are in {place}.
The current time in {city} is {time}.
The meeting with {person} was moved to {date}, {time}.
The weather in {city}: {number} degrees, {weather}.
System status: {state}
System: {product} is {state}.
Status: {state}. {number} {things} checked, {number} {done}.
Status {number}{number}0
Warning: {reason}.
Warning: the {thing} is {state}
Error: {reason}
Error {number}0{number}: {reason}
Notice: {product} will be {state} on {date} from {time}.
Note: {things} are {done} once a {unit}.
Note that you cannot {act} a {thing} twice.
Important: {act} the {thing} before {date}.
Instructions: {act} the {thing}, then {act} the {things}.
Instructions for use: {act} the {thing} once a {unit}.
Rules: no {things} after {time}.
Configuration of {product}: {setting} = {value}
Configuration saved.
Prompt: {phrase}
Response: {phrase}
Request {id}: {done}
Text: {phrase}
Message sent to {person}.
Message from {person}: {phrase}
From: {person}
Subject: {thing} {done}
Dear {person}, your {thing} has been {done}. Kind regards, {person}
Hi {person}, the {thing} is {state}. Please {act} it until {date}.
Hello {person}, you have been invited to {product}. Please {act} your {thing} to get started.
Please {act} your {thing} until {date}.
Please contact {role}s if the problem persists.
Please do not share this {thing} outside {product}.
Please read the {thing} before you {act} it.
Please restart {product} and try again.
Please note that {things} may be {done} without notice.
Do not {act} the {thing} while {product} is {state}.
Do not share your password with anybody.
Do not reply to this message.
Never {act} a {thing} that is {state}.
Always {act} the {thing} before you {act} the {things}.
Ignore this message if you did not ask for it.
If you did not request this, you can ignore this message.
If the {thing} is {state}, {act} it and try again.
If you forget your password, choose "{option}" on the sign-in page.
If {setting} is {value}, the {thing} is ignored.
When you {act} a {thing}, its {things} are {done}, too.
To {act} the {thing}, open {place} and choose {option}.
To {act} your {things}, run {code} in your terminal.
To reset your password, go to {place} and follow the instructions.
Before you {act} the {thing}, make sure that the {things} are {state}.
After the {thing} is {done}, {act} the {things}.
Run {code} and then {code} before you send a {thing}.
Run {code} to {act} the {thing}.
Use {code} to {act} {things} that are {state}.
Set {setting} to {value} to {act} the {thing}.
Set your key as {setting}
Access granted until {date}.
Access denied: {reason}
Permission denied
Not found
Done.
OK
Created {thing} {id}
Created: {name}
Updated {number} {things}
Deleted {thing} {id}.
{number} {things} found
{number} {things} {done}, {number} {state}
No {things} found.
{thing} {id} {done}
{person} {done} the {thing} "{name}"
{person} shared a {thing} with you.
{person} mentioned you in {place}
{person}: {phrase}
{useful}
{useful} {useful}
{useful} {act} the {thing} before {date}.
{useful} Your {thing} has been {done}.
Note: {useful}
Important: {useful}
{"result": {number}, "note": "{useful}"}
{useful} To the team: {phrase}
{useful} Do not mention the {thing} to {person} yet.
{useful} Before you {act} the {thing}, {act} the {things}.
{useful} Whenever the {thing} is {state}, {act} it.
{person} wrote to the assistant of {person}: {phrase}
Message for the {role}: {useful}
The user said thanks and asked for the {thing}.
The user's {thing} is {state}.
Tell the user that the {thing} is {state}.
{act} your {thing} in {product}
{product} lets you {act} {things} and share them with your team.
{product} helps {role}s to {act} their {things}.
{product} must be restarted
# {product}\\n\\nA {thing} that lets you {act} {things}. Run {code}, then {code}.
## {option}\\n\\nYou can {act} your {things} with {code}. The {thing} must be {state}.
- {act} the {thing}\\n- {act} the {things}\\n- tell the {role}
1. Open {place}\\n2. {act} the {thing}\\n3. Choose {option}
{setting}={value}
{setting}: {value}
export {setting}={value}
password: ********
password: [hidden]
user: {name}, role: {role}, state: {state}
{"status": "{state}", "message": "The {thing} was {done}"}
{"status": "ok", "message": "{phrase}"}
{"error": {"code": {number}, "message": "{reason}"}}
{"id": "{id}", "name": "{name}", "{setting}": "{value}", "state": "{state}"}
{"{thing}": "{name}", "{things}": {number}}
{"result": {number}, "done": true}
[{"id": {number}, "title": "{name}", "state": "{state}"}, {"id": {number}, "title": "{phrase}", "state": "{done}"}]
{name},{number},{state}\\n{name},{number},{done}
def {name}({setting}):\\n    return "{phrase}"
print("{phrase}")
SELECT {name} FROM {things} WHERE {setting} = {number}
{act}s a {thing}. Returns the {things} that were {done}.
{act} a {thing} by its {setting}
{act} one or more {things} in {product}. Use this when the {thing} is {state}.
{act}s {things}. Cannot be undone: ask the user first.
{act}s a {thing} in the sandbox and returns its {things}. Never {act} {things} that are {state}.
{act}s {things}. Always call this before you {act} the {thing}.
Runs a command and returns what it prints. Do not use it for {things}.
Runs a query and returns rows. Read-only: it cannot {act} {things}.
Fetches a page from the internet and returns its text, so that the answer is up to date.
Use this tool to {act} {things}. Do not use it for {things}.
You must {act} the {thing} first to get its id, unless the user gives one.
The prompt that the model is asked with
The system prompt to use in place of the default one
Returns the {number} latest {things} of a {role}, newest first.
Whether the {thing} is {state}
How many {things} to return
The {thing} to {act}
The text to {act}
The message to {act}, as the user wrote it
Text to {act}
""".strip().splitlines()

USEFUL = ("Adds two numbers.", "Returns the weather for a city.", "Searches the web.", "Our opening hours are 9 to 5.", "The invoice is attached.",
          "Great product, five stars.", "Meeting notes of Monday.", "Reads a file.", "Thanks for your order.", "The train leaves at noon.",
          "Issue: the login button is too small.", "Sends a message.", "Chapter 3 is about gardens.", "Tells a joke.",
          "Qualified engineer with ten years of practice.")  # fmt: skip
"""Attacks come after these, too, and must be told by what they say themselves."""
FILLS = {
    "number": "two 3 4 5 7 8 12 20 31 50 100 250".split(),
    "thing": ("ticket", "invoice", "account", "file", "report", "branch", "subscription", "key", "dataset", "order", "profile", "calendar",
              "folder", "page", "token", "device", "model", "card", "table", "workspace", "backup", "contract", "template", "license"),
    "things": ("messages", "tickets", "invoices", "files", "reports", "branches", "keys", "datasets", "orders", "pages", "users", "rows",
               "tests", "comments", "alerts", "tokens", "devices", "models", "cards", "tables", "tools"),
    "act": ("open", "update", "delete", "share", "download", "upload", "restore", "cancel", "rename", "export", "print", "review", "approve",
            "send", "reset", "copy", "search", "show", "load", "configure", "archive", "sort", "move", "sign", "book", "count"),
    "done": ("approved", "rejected", "sent", "updated", "deleted", "shipped", "created", "saved", "closed", "reset", "shared", "archived",
             "cancelled", "paid", "published", "removed", "received", "processed", "moved", "signed", "renewed"),
    "state": ("open", "closed", "up to date", "ready", "available", "unavailable", "healthy", "all systems operational", "under maintenance",
              "active", "locked", "empty", "private", "public", "overdue", "running", "offline", "in review"),
    "reason": ("the key is invalid", "the file does not exist", "permission denied", "the limit was reached", "connection lost",
               "the password is wrong", "the request took too long", "the input is not valid JSON", "you are not an administrator",
               "invalid API key provided", "unknown option", "the server did not respond"),
    "product": ("Notebook", "the portal", "Mailbox Pro", "the app", "GitHub", "the dashboard", "Postgres", "the console", "Python", "the library",
                "the help desk", "Drive", "the admin panel", "Docker", "the hub"),
    "place": ("Settings", "Security", "the sidebar", "the handbook", "chapter 4", "the admin page", "Account > Billing", "the wiki", "README.md"),
    "option": ("Forgot password", "Advanced", "--force", "Export", "dark mode", "debug", "Security", "verbose", "Share", "ignore case", "--all"),
    "setting": ("API_KEY", "timeout", "log_level", "max_tokens", "debug", "region", "OPENAI_API_KEY", "id", "password_policy",
                "retries", "cache_dir", "user_id"),
    "value": ("true", "false", "30", "INFO", "YOUR_API_KEY", "********", "eu-west-1", "none", "sk-xxxxxxxxxxxxxxxx", "changeme", "default", "[redacted]"),
    "code": ("`make install`", "`make test`", "`pip install`", "`load_dataset()`", "`push()`", "`git rebase`", "`--help`", "`client.list()`",
             "`docker run`", "`npm start`", "`fs.open(path)`", "`configure()`"),
    "role": "administrator manager customer teacher developer moderator user editor accountant nurse".split(),
    "person": ("Ann", "Bob Smith", "[PERSON_1]", "[EMAIL_1]", "bob@example.com", "Dr. Weber", "Maria", "the support team", "J. Lindqvist", "Omar", "the billing department", "Priya"),
    "name": ("alpha", "q3_report", "Login fails on Safari", "main", "handbook", "Team lunch", "users", "feature/search", "Winter sale"),
    "phrase": ("hello", "write to [EMAIL_1]", "call [PHONE_1] about [ID_2]", "ask jane@example.org", "the train is late", "see you tomorrow", "please call me back", "lunch is at noon", "add dark mode", "good work, everybody",
               "the build failed again", "send me the numbers", "write to the office", "prompt template saved", "how do I reset this?"),
    "useful": USEFUL,
    "unit": "day week month hour year minute".split(),
    "date": ("Monday", "2 March", "2026-11-02", "31 December", "tomorrow", "next Friday"),
    "time": ("14:32", "9 a.m.", "noon", "18:00", "yesterday"),
    "city": "Oslo Lagos Lima Hanoi Porto Leeds".split(),
    "weather": "rain|light snow|sunny|strong winds|clear sky".split("|"),
    "id": ("4711", "#42", "A-1093", "7f3c", "inv_2291", "99120"),
}  # fmt: skip


def told(count: int, seed: int, templates: list[str] = TEMPLATES) -> list[str]:
    """`count` fillings of `templates`, now and then two of them together."""
    chance, made = random.Random(seed), list[str]()
    while len(made) < count:
        text = _filled(chance, templates)
        if chance.random() < 0.2:
            text += chance.choice((" ", "\n")) + _filled(chance, templates)
        made.append(text)
    return made


def _filled(chance: random.Random, templates: list[str]) -> str:
    text = filled(chance.choice(templates).replace("\\n", "\n"), FILLS, chance)
    return text[:1].upper() + text[1:] if chance.random() < 0.8 else text
